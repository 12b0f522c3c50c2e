"""The table of messages against a whole server connection: what was dispatched, answered, and closed."""

from __future__ import annotations

from types import ModuleType

import pytest

from fastanchor.wire import ServerLimits
from tests.kit.wires import Recorder, cut, served
from tests.wire.vectors import Vector, bodies, fields, lines

VECTORS = [*lines.VECTORS, *fields.VECTORS, *bodies.VECTORS]
LIMITS = ServerLimits(body=4096)
SHORT = 130


async def outcome(pieces: list[bytes]) -> tuple[object, ...]:
    recorder = Recorder()
    async with served(recorder, LIMITS) as client:
        await client.write_pieces(pieces)
        return tuple(recorder.requests), client.statuses(), not client.ended


def deliveries(data: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and cut in two around the ends of lines (the parsers' own tests cut them at every offset);
    long messages in small pieces instead of bytes."""
    if len(data) > SHORT:
        return [[data], cut(data, 1 if len(data) < 1000 else 997)]
    return [[data], cut(data, 1), *([data[:i], data[i:]] for i in range(1, len(data)) if b"\n" in data[i - 2 : i + 1])]


def test_the_table_is_large_and_its_names_are_unique() -> None:
    assert len(VECTORS) >= 150
    assert len({vector.name for vector in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize("vector", VECTORS, ids=str)
async def test_outcome_is_the_same_however_it_is_delivered(vector: Vector, half: ModuleType) -> None:
    expected = (vector.requests, vector.statuses, vector.open)
    for pieces in deliveries(vector.data):
        assert await outcome(pieces) == expected, pieces


@pytest.mark.slow
@pytest.mark.parametrize("vector", VECTORS, ids=str)
async def test_outcome_is_the_same_cut_anywhere(vector: Vector, half: ModuleType) -> None:
    expected = (vector.requests, vector.statuses, vector.open)
    for at in range(1, min(len(vector.data), 2000)):
        assert await outcome([vector.data[:at], vector.data[at:]]) == expected, at
