"""The end of a stream: what is whole, and what is not."""

from __future__ import annotations

import pytest
import trio

from fastanchor.core.call import Call
from fastanchor.core.faults import Kind
from fastanchor.dialects import registry, relay
from fastanchor.engine.relay import relay as carry

PIECE = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"tick"}}]}\n\n'
END = b'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
DEADLINE = 5.0


class Late:
    """A response whose pieces come at their times, whatever it was told of deadlines: sweepers are not that exact."""

    patience: float | None = None
    idle_timeout: float | None = 30.0

    def __init__(self, *pieces: tuple[float, bytes]) -> None:
        self.pieces = list(pieces)

    async def read(self) -> bytes:
        when, data = self.pieces.pop(0)
        await trio.sleep_until(when)
        return data


async def carried(*pieces: tuple[float, bytes]) -> tuple[Kind | None, bytes]:
    out: list[bytes] = []

    async def send(data: bytes) -> None:
        out.append(data)

    async def alive() -> None:
        raise AssertionError("nobody was impatient")

    began = trio.current_time()
    response = Late(*((began + when, data) for when, data in pieces))
    carrier = relay.passthrough(registry.dialect("openai_chat"), Call("openai_chat", "m", b"{}", stream=True))
    fault = await carry(response, carrier, send, alive, began + DEADLINE, one_choice=True)  # type: ignore[arg-type]
    return fault and fault.kind, b"".join(out)


@pytest.mark.parametrize("when", [4.9, 5.0, 5.1])
async def test_an_answer_that_is_whole_as_its_deadline_passes_is_whole(when: float, autojump_clock: object) -> None:
    assert await carried((1.0, PIECE), (when, END)) == (None, PIECE + END)


async def test_an_answer_that_is_not_whole_by_its_deadline_is_told(autojump_clock: object) -> None:
    assert await carried((1.0, PIECE), (5.1, PIECE), (6.0, END)) == (Kind.DEADLINE, PIECE + PIECE)
