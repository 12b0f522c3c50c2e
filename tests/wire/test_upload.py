"""Requests whose body is passed on while it comes: framed anew, refused early, cut off, and never sent twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from fastanchor.wire import (
    BadRequest,
    BadResponse,
    ConnectFailed,
    Origin,
    Pool,
    ResetBeforeResponse,
    ResponseTimeout,
    WireError,
)
from tests.kit.raw_upstream import RawUpstream, Script, raw_upstream, says

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Pieces:
    """A body; `taken` counts what has been read of it. An error in it is raised in its turn."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.left: list[bytes | Exception] = list(pieces)
        self.taken = 0

    async def read(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self.left:
            return b""
        piece = self.left.pop(0)
        if isinstance(piece, Exception):
            raise piece
        self.taken += len(piece)
        return piece


async def send(up: RawUpstream, source: Pieces, length: int | None = None, within: float = 5.0) -> tuple[int, bytes]:
    """(status, body) of the answer."""
    with Pool() as pool:
        response = await pool.upload(
            up.origin, b"POST", b"/files", [(b"content-type", b"x/y")], source, length,
            connect_timeout=60.0, first_byte_timeout=within,
        )  # fmt: skip
        with response:
            return response.status, await response.read_all(10)


def collects(into: list[bytes], end: bytes, answer: bytes = OK) -> Callable[[RawUpstream], Script]:
    """Read up to `end`, then answer."""

    async def script(stream: trio.SocketStream) -> None:
        while not b"".join(into).endswith(end):
            data = await stream.receive_some()
            if not data:
                return
            into.append(data)
        await stream.send_all(answer)

    return lambda _: script


async def test_a_body_of_known_length_is_sent_as_it_is() -> None:
    seen: list[bytes] = []
    async with raw_upstream(collects(seen, b"two")) as up:
        assert await send(up, Pieces(b"one", b"two"), 6) == (200, b"ok")
    head, _, body = b"".join(seen).partition(b"\r\n\r\n")
    assert body == b"onetwo"
    assert head.startswith(b"POST /files HTTP/1.1\r\nhost: 127.0.0.1")
    assert b"\r\ncontent-length: 6" in head
    assert b"transfer-encoding" not in head


async def test_a_body_of_unknown_length_is_sent_in_chunks() -> None:
    seen: list[bytes] = []
    async with raw_upstream(collects(seen, b"0\r\n\r\n")) as up:
        assert (await send(up, Pieces(b"one", b"twotwo")))[0] == 200
    assert b"".join(seen).endswith(b"3\r\none\r\n6\r\ntwotwo\r\n0\r\n\r\n")
    assert b"\r\ntransfer-encoding: chunked\r\n" in b"".join(seen)


async def test_an_empty_body() -> None:
    seen: list[bytes] = []
    async with raw_upstream(collects(seen, b"\r\n\r\n")) as up:
        assert (await send(up, Pieces(), 0))[0] == 200


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3])
async def test_a_refusal_ends_the_upload_at_once(interim: bytes) -> None:
    answer = interim + b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno"

    async def script(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.receive_some()

    async with raw_upstream(lambda _: script) as up:
        source = Pieces(b"x", *[bytes(65_536)] * 10_000)
        assert await send(up, source) == (401, b"no")
        assert source.taken < 64 * 1024 * 1024


async def test_a_good_answer_that_comes_early_gets_the_rest_all_the_same() -> None:
    received = 0

    async def script(stream: trio.SocketStream) -> None:
        nonlocal received
        received += len(await stream.receive_some())
        await stream.send_all(OK)
        while received < 50 * 65_536:
            received += len(await stream.receive_some())

    async with raw_upstream(lambda _: script) as up:
        assert await send(up, Pieces(*[bytes(65_536)] * 50), 50 * 65_536) == (200, b"ok")


async def test_the_time_for_the_answer_runs_from_the_end_of_the_body() -> None:
    class Slow(Pieces):
        async def read(self) -> bytes:
            await trio.sleep(0.2)
            return await super().read()

    async with raw_upstream(collects([], b"0\r\n\r\n")) as up:
        assert (await send(up, Slow(*[b"x"] * 4), within=0.75))[0] == 200
    async with raw_upstream(collects([], b"never")) as up:
        with pytest.raises(ResponseTimeout):
            await send(up, Pieces(b"x"), within=0.1)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", WireError),
        (b"HTTP/1.1 200", WireError),
        (b"nonsense\r\n\r\n", BadResponse),
        (b"HTTP/1.1 101 X\r\n\r\n", BadResponse),
    ],
)
async def test_bad_answers(answer: bytes, error: type[Exception]) -> None:
    async with raw_upstream(collects([], b"0\r\n\r\n", answer)) as up:
        with pytest.raises(error):
            await send(up, Pieces(b"x"))
        assert up.connections == 1


async def test_an_upstream_that_hangs_up_in_the_middle() -> None:
    async with raw_upstream(says()) as up:
        with pytest.raises((ResetBeforeResponse, WireError)):
            await send(up, Pieces(*[bytes(65_536)] * 1000))
        assert up.connections == 1


async def test_a_client_whose_body_breaks_ends_the_upstreams_request_unfinished() -> None:
    seen: list[bytes] = []
    async with raw_upstream(collects(seen, b"0\r\n\r\n")) as up:
        with pytest.raises(BadRequest, match="cut short"):
            await send(up, Pieces(b"half", BadRequest(400, "body cut short")))
        await trio.sleep(0.05)
    assert not b"".join(seen).endswith(b"0\r\n\r\n")


async def test_cancelling_closes_the_connection() -> None:
    closed = trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            scope.cancel()
        closed.set()

    async with raw_upstream(lambda _: script) as up:
        with trio.CancelScope() as scope:
            await send(up, Pieces(b"x"))
        with trio.fail_after(60):
            await closed.wait()


@pytest.mark.parametrize("origin", [Origin("http", "127.0.0.1", 9), Origin("http", "127.0.0.1", 9, "on")])
async def test_nobody_there(origin: Origin) -> None:
    with Pool() as pool, pytest.raises(ConnectFailed):
        await pool.upload(
            origin, b"POST", b"/", [], Pieces(b"x"), None, connect_timeout=2.0, first_byte_timeout=1.0
        )
