"""The table under many processes: exact under contention, and right again after `kill -9` at any moment."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastanchor._speedups.bucket import BALANCE, GAUGE, RATE, REQUESTS, WINDOW, Limit, Refused, TableFull, prepare
from tests.speedups.halves import halves

NOW = 10**12
WALL = 10**18
FOREVER = 1 << 62
OWNER = b"o" * 16
PROCESSES = 4


@pytest.fixture(params=halves("bucket"))
def half(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def path(tmp_path: Path) -> Path:
    prepare(tmp_path / "table", slots=64, workers=PROCESSES)
    return tmp_path / "table"


def fork(main: Callable[[], int]) -> int:
    """Run `main` in a child whose exit code is its result (at most 255)."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            code = main()
        finally:
            os._exit(code)
    return pid


def together(main: Callable[[int, Any], int], half: Any, path: Path) -> list[int]:
    """Run `main` in all workers at once, each with a table of its own. Returns their results."""
    gate_out, gate_in = os.pipe()

    def child(worker: int) -> int:
        table = half.Table(path, worker)
        os.close(gate_in)
        os.read(gate_out, 1)  # ends when the parent opens the gate
        return main(worker, table)

    children = [fork(lambda n=n: child(n)) for n in range(PROCESSES)]
    os.close(gate_out)
    os.close(gate_in)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


@pytest.mark.parametrize(
    "limit",
    [(GAUGE, 150, 1, 0), (RATE, 150, 1, 0), (RATE + 1, 1050, 7, 0), (WINDOW + 3, 150, 1, 5), (BALANCE, 0, 3, 0)],
    ids=["gauge", "rate", "rate of tokens", "window", "balance"],
)
def test_workers_that_hammer_one_limit_admit_exactly_its_cap(half: Any, path: Path, limit: Limit) -> None:
    half.Table(path).set_balance(OWNER, None, 450, WALL)

    def hammer(worker: int, table: Any) -> int:
        return sum(not isinstance(table.reserve(OWNER, [limit], NOW, WALL, FOREVER), Refused) for _ in range(400))

    admitted = together(hammer, half, path)
    assert sum(admitted) == 150


def test_workers_that_hammer_all_limits_admit_exactly_the_narrowest(half: Any, path: Path) -> None:
    half.Table(path).set_balance(OWNER, None, 10_000, WALL)
    limits = [(GAUGE, 190, 1, 0), (RATE, 180, 1, 0), (RATE + 1, 17_000, 100, 0), (WINDOW, 160, 1, 5),
              (WINDOW + 1, 15_000, 100, 5), (BALANCE, 0, 77, 0)]  # 129 times 77 is the most

    def hammer(worker: int, table: Any) -> int:
        return sum(not isinstance(table.reserve(OWNER, limits, NOW, WALL, FOREVER), Refused) for _ in range(300))

    assert sum(together(hammer, half, path)) == 10_000 // 77
    table = half.Table(path)
    assert table.balance(OWNER) == 10_000 % 77
    assert table.held(OWNER) == 129
    assert table.remaining(OWNER, limits, NOW)[1:5] == [180 - 129, 17_000 - 12_900, 160 - 129, 15_000 - 12_900]


@pytest.mark.parametrize(("own", "shared"), [(60, 150), (200, 150)])
def test_workers_that_hammer_two_keys_of_a_group_admit_exactly_what_both_allow(
    half: Any, path: Path, own: int, shared: int
) -> None:
    keys = [b"a" * 16, b"b" * 16]
    of_the_group = half.Claim(OWNER, [(RATE, shared, REQUESTS, 0)], FOREVER)
    claims = [(half.Claim(key, [(WINDOW, own, REQUESTS, 5)], FOREVER), of_the_group) for key in keys]

    def hammer(worker: int, table: Any) -> int:
        tries = (table.admit(claims[(worker + n) % 2], 1, 1, NOW, WALL) for n in range(400))
        return sum(not isinstance(found, Refused) for found in tries)

    assert sum(together(hammer, half, path)) == min(2 * own, shared)


def test_a_gauge_is_never_above_its_cap_while_workers_come_and_go(half: Any, path: Path) -> None:
    limit = (GAUGE, 3, 1, 0)

    def churn(worker: int, table: Any) -> int:
        for _ in range(500):
            if not isinstance(table.reserve(OWNER, [limit], NOW, WALL, FOREVER), Refused):
                if table.held(OWNER) > 3:
                    return 1
                table.settle(OWNER, [limit], [0], NOW, NOW)
        return 0

    assert together(churn, half, path) == [0] * PROCESSES
    assert half.Table(path).held(OWNER) == 0


def test_new_owners_get_one_slot_each_however_many_workers_bring_them(half: Any, path: Path) -> None:
    owners = [n.to_bytes(16, "little") for n in range(48)]

    def enter(worker: int, table: Any) -> int:
        return sum(
            not isinstance(table.reserve(owner, [(WINDOW, 3, 1, 1)], NOW, WALL, FOREVER), Refused) for owner in owners
        )

    assert sum(together(enter, half, path)) == 3 * len(owners)


def test_eviction_under_load_never_mixes_owners_up(half: Any, path: Path) -> None:
    """Three times more owners than slots, all idle at once: whoever has a reservation must find its own numbers."""
    owners = [bytes([n]) * 16 for n in range(192)]

    def visit(worker: int, table: Any) -> int:
        dice = random.Random(worker)
        for n in range(600):
            owner = dice.choice(owners)
            cap = 1000 + owner[0]
            try:
                left = table.reserve(owner, [(WINDOW, cap, 1, 1)], NOW, WALL + n + 1, 0)
            except TableFull:
                continue
            if not 1000 + owner[0] - 3000 < left[0] < cap or table.held(owner) not in range(1, PROCESSES + 1):
                return 1
            table.settle(owner, [(WINDOW, cap, 1, 1)], [1], NOW, NOW)
        return 0

    assert together(visit, half, path) == [0] * PROCESSES
    table = half.Table(path)
    assert [table.held(owner) for owner in owners] == [0] * len(owners)


def kills(half: Any, path: Path, times: int, seed: int) -> None:
    """Workers reserve and settle without end and are killed at random moments; nothing they held may stay."""
    dice = random.Random(seed)
    limits = [(GAUGE, 1000, 1, 0), (WINDOW, 1 << 39, 1, 1)]

    def work(worker: int) -> int:
        table = half.Table(path, worker)
        while True:
            for _ in range(3):
                table.reserve(OWNER, limits, NOW, WALL, FOREVER)
            for _ in range(3):
                table.settle(OWNER, limits, [0, 1], NOW, NOW)

    watch = half.Table(path)
    running = {worker: fork(lambda w=worker: work(w)) for worker in range(2)}
    try:
        for _ in range(times):
            time.sleep(dice.uniform(0.0, 0.01))
            worker = dice.randrange(2)
            os.kill(running[worker], signal.SIGKILL)
            os.waitpid(running[worker], 0)
            wait_until_right(watch, worker)
            running[worker] = fork(lambda w=worker: work(w))
    finally:
        for worker, pid in running.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            wait_until_right(watch, worker)
    assert watch.held(OWNER) == 0


def wait_until_right(watch: Any, worker: int) -> None:
    """A living worker may be preempted in the middle of a change; it goes on in a moment."""
    deadline = time.monotonic() + 30
    while watch.release_worker(worker):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_killed_workers_leak_nothing(half: Any, path: Path) -> None:
    kills(half, path, 20, seed=1)


@pytest.mark.slow
def test_a_thousand_killed_workers_leak_nothing(half: Any, path: Path) -> None:
    kills(half, path, 1000, seed=2)
