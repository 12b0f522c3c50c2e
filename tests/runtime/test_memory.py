"""A worker's memory goes back to the system when what needed it is gone."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trio
from trio.testing import MockClock

from fastanchor.runtime import memory
from fastanchor.runtime.memory import LOOK_EVERY, give_memory_back

HELD = """
import trio
from fastanchor.runtime.memory import LOOK_EVERY, give_memory_back, resident, trimmer

MIB = 1 << 20

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_memory_back)
        await trio.testing.wait_all_tasks_blocked()
        rest = resident()
        pieces, kept = [], []
        for i in range(1024):
            pieces.append(bytes([i % 256]) * 64_000)
            kept.append(bytes([i % 256]) * 600)
        del pieces[:]
        held = resident()
        await trio.sleep(LOOK_EVERY + 1)
        print(trimmer() is not None, (held - rest) // MIB, (resident() - rest) // MIB)
        nursery.cancel_scope.cancel()

import trio.testing
trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
"""


def test_what_is_free_goes_back() -> None:
    """In a process of its own: what this one holds is anybody's guess."""
    ran = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    possible, held, left = ran.stdout.split()
    if possible == "False":
        pytest.skip("this C library gives nothing back")
    assert int(held) > 40
    assert int(left) < 16


async def test_nothing_is_done_at_rest(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[int] = []
    monkeypatch.setattr(memory, "trimmer", lambda: given_back.append)
    monkeypatch.setattr(memory, "resident", lambda: 100 << 20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_memory_back)
        await trio.sleep(10.5 * LOOK_EVERY)
        assert given_back == []
        monkeypatch.setattr(memory, "resident", lambda: 120 << 20)
        await trio.sleep(LOOK_EVERY)
        assert given_back == [0]
        nursery.cancel_scope.cancel()
