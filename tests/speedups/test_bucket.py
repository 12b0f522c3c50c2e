"""The table of limits, one process: each kind of limit, all-or-none, settling, idle slots, the file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastanchor._speedups.bucket import (
    BALANCE,
    GAUGE,
    MINUTE,
    MONEY,
    NEVER,
    NOT_OPEN,
    RATE,
    REQUESTS,
    TOKENS,
    WINDOW,
    Refused,
    TableError,
    TableFull,
    prepare,
)
from tests.speedups.halves import halves

SECOND = 10**9
NOW = 1_000 * SECOND
WALL = 1_800_000_000 * SECOND
FOREVER = 1 << 62
OWNER = bytes(range(16))
OTHER = bytes(reversed(range(16)))

Opened = Callable[..., Any]


@pytest.fixture(params=halves("bucket"))
def half(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def path(tmp_path: Path) -> Path:
    prepare(tmp_path / "table", slots=64, workers=4)
    return tmp_path / "table"


@pytest.fixture
def table(half: Any, path: Path) -> Any:
    return half.Table(path, 0)


def reserve(table: Any, *limits: tuple[int, int, int, int], owner: bytes = OWNER, now: int = NOW) -> Any:
    return table.reserve(owner, limits, now, WALL, FOREVER)


def settle(table: Any, limits: Any, used: Any, *, owner: bytes = OWNER, since: int = NOW, now: int = NOW) -> None:
    table.settle(owner, limits, used, since, now)


@pytest.mark.parametrize("cap", [1, 2, 3, 7, 59, 60, 61, 500, 999, 10_007])
def test_a_rate_admits_its_whole_cap_at_once_and_not_one_more(table: Any, cap: int) -> None:
    for n in range(cap):
        assert reserve(table, (RATE, cap, 1, 0)) == [cap - n - 1]
    refused = reserve(table, (RATE, cap, 1, 0))
    assert isinstance(refused, Refused)


@pytest.mark.parametrize("cap", [1, 3, 7, 60, 997, 10_000_000])
def test_a_refused_rate_admits_at_the_very_nanosecond_it_named(table: Any, cap: int) -> None:
    reserve(table, (RATE, cap, cap, 0))
    for amount in {1, cap}:
        refused = reserve(table, (RATE, cap, amount, 0))
        assert isinstance(refused, Refused)
        assert refused.wait > 0
        assert isinstance(reserve(table, (RATE, cap, amount, 0), now=NOW + refused.wait - 1), Refused)
    wait = reserve(table, (RATE, cap, 1, 0)).wait
    assert reserve(table, (RATE, cap, 1, 0), now=NOW + wait) == [0]


def test_a_rate_takes_mixed_amounts_up_to_its_cap(table: Any) -> None:
    cap = 100_003
    amounts = [1, 17, 40_000, 3, 50_000, 9_982]
    assert sum(amounts) == cap
    for amount in amounts:
        assert isinstance(reserve(table, (RATE + 1, cap, amount, 0)), list)
    assert isinstance(reserve(table, (RATE + 1, cap, 1, 0)), Refused)


def test_an_amount_above_the_cap_is_never_admitted(table: Any) -> None:
    assert reserve(table, (RATE, 10, 11, 0)) == Refused(0, NEVER)
    assert reserve(table, (WINDOW, 10, 11, 1)) == Refused(0, NEVER)
    assert reserve(table, (RATE, 10, 10, 0)) == [0]


def test_a_rate_refills_evenly(table: Any) -> None:
    reserve(table, (RATE, 60, 60, 0))
    assert table.remaining(OWNER, [(RATE, 60, 1, 0)], NOW + SECOND) == [1]
    assert table.remaining(OWNER, [(RATE, 60, 1, 0)], NOW + 30 * SECOND) == [30]
    assert table.remaining(OWNER, [(RATE, 60, 1, 0)], NOW + 90 * SECOND) == [60]


def test_the_two_rates_and_the_four_windows_are_counted_apart(table: Any) -> None:
    limits = [(GAUGE, 9, 1, 0), *((RATE + i, 10 + i, i + 1, 0) for i in range(2)),
              *((WINDOW + i, 100 + i, i + 1, 7) for i in range(4))]
    assert reserve(table, *limits) == [8, 9, 9, 99, 99, 99, 99]


def test_a_window_starts_anew_with_a_higher_number(table: Any) -> None:
    assert reserve(table, (WINDOW, 5, 5, 100)) == [0]
    assert reserve(table, (WINDOW, 5, 1, 100)) == Refused(0, NEVER)
    assert reserve(table, (WINDOW, 5, 1, 101)) == [4]


def test_a_clock_that_goes_back_and_forth_credits_a_window_only_once(table: Any) -> None:
    reserve(table, (WINDOW, 5, 5, 100))
    assert reserve(table, (WINDOW, 5, 5, 101)) == [0]
    for number in (100, 0, 101):
        assert reserve(table, (WINDOW, 5, 1, number)) == Refused(0, NEVER)


def test_a_gauge_counts_what_is_open(table: Any) -> None:
    limit = (GAUGE, 2, 1, 0)
    assert reserve(table, limit) == [1]
    assert reserve(table, limit) == [0]
    assert reserve(table, limit) == Refused(0, NEVER)
    settle(table, [limit], [0])
    assert table.held(OWNER) == 1
    assert reserve(table, limit) == [0]


def test_every_reservation_is_counted_on_the_gauge_whether_it_has_a_cap_or_not(table: Any) -> None:
    reserve(table)
    reserve(table, (RATE, 10, 1, 0))
    assert table.held(OWNER) == 2
    settle(table, [], [])
    settle(table, [(RATE, 10, 1, 0)], [1])
    assert table.held(OWNER) == 0


def test_a_settlement_without_a_reservation_changes_nothing(table: Any) -> None:
    limit = (WINDOW, 10, 4, 1)
    reserve(table, limit)
    settle(table, [limit], [0])
    settle(table, [limit], [0])
    assert table.held(OWNER) == 0
    assert table.remaining(OWNER, [limit], NOW) == [10]


def test_a_balance_is_spent_down_to_zero_and_not_below(table: Any) -> None:
    limit = (BALANCE, 0, 30, 0)
    assert reserve(table, limit) == Refused(0, NOT_OPEN)
    assert table.balance(OWNER) is None
    assert table.set_balance(OWNER, None, 100, WALL)
    for rest in (70, 40, 10):
        assert reserve(table, limit) == [rest]
    assert reserve(table, limit) == Refused(0, NEVER)
    assert table.balance(OWNER) == 10


def test_an_overrun_is_visible_as_a_negative_balance(table: Any) -> None:
    table.set_balance(OWNER, None, 100, WALL)
    reserve(table, (BALANCE, 0, 100, 0))
    settle(table, [(BALANCE, 0, 100, 0)], [130])
    assert table.balance(OWNER) == -30
    assert reserve(table, (BALANCE, 0, 0, 0)) == Refused(0, NEVER)


def test_a_balance_changes_only_from_what_was_expected(table: Any) -> None:
    assert not table.set_balance(OWNER, 5, 10, WALL)
    assert table.set_balance(OWNER, None, 10, WALL)
    assert not table.set_balance(OWNER, None, 20, WALL)
    assert table.set_balance(OWNER, 10, -7, WALL)
    assert table.balance(OWNER) == -7


def test_a_refusal_takes_nothing_from_any_limit(table: Any) -> None:
    table.set_balance(OWNER, None, 50, WALL)
    limits = [(GAUGE, 5, 1, 0), (RATE, 60, 1, 0), (RATE + 1, 600, 100, 0), (WINDOW, 10, 1, 3), (BALANCE, 0, 51, 0)]
    before = table.remaining(OWNER, limits, NOW)
    assert reserve(table, *limits) == Refused(4, NEVER)
    assert table.remaining(OWNER, limits, NOW) == before
    assert table.held(OWNER) == 0


def test_settling_replaces_the_reserved_amounts(table: Any) -> None:
    limits = [(RATE + 1, 1000, 600, 0), (WINDOW + 1, 1000, 600, 3)]
    reserve(table, *limits)
    settle(table, limits, [150, 150])
    assert table.remaining(OWNER, limits, NOW) == [850, 850]
    reserve(table, *limits)
    settle(table, limits, [900, 900])
    assert table.remaining(OWNER, limits, NOW) == [0, 0]
    assert table.remaining(OWNER, limits, NOW + 4 * SECOND) == [16, 0]  # 50 over: three seconds of debt


def test_a_rate_does_not_give_back_what_the_clock_has_given_back(table: Any) -> None:
    limit = (RATE, 60, 60, 0)
    later = NOW + 30 * SECOND
    reserve(table, limit)
    assert reserve(table, (RATE, 60, 30, 0), now=later) == [0]
    settle(table, [limit], [0], now=later)
    assert table.remaining(OWNER, [limit], later) == [30]


def test_what_is_settled_after_its_window_changes_nothing(table: Any) -> None:
    limit = (WINDOW, 10, 8, 1)
    reserve(table, limit)
    reserve(table, (WINDOW, 10, 5, 2))
    settle(table, [limit], [0])
    assert table.remaining(OWNER, [(WINDOW, 10, 0, 2)], NOW) == [5]


def claims(half: Any, *, credits: bool = True) -> Any:
    """A key with two limits, and its group with one and a balance."""
    own = half.Claim(OWNER, [(GAUGE, 2, REQUESTS, 0), (RATE + 1, 100, TOKENS, 0)], FOREVER)
    shared = [(WINDOW, 3, REQUESTS, 5)] + ([(BALANCE, 0, MONEY, 0)] if credits else [])
    return own, half.Claim(OTHER, shared, FOREVER)


def test_a_request_takes_of_every_claim_what_it_counts(half: Any, table: Any) -> None:
    table.set_balance(OTHER, None, 50, WALL)
    both = claims(half)
    assert table.admit(both, 30, 7, NOW, WALL) == [1, 70, 2, 43] == table.left(both, NOW)
    assert (table.held(OWNER), table.held(OTHER)) == (1, 1)
    table.finish(both, 30, 7, 1, 10, 9, NOW, NOW)
    assert table.left(both, NOW) == [2, 90, 2, 41]
    assert (table.held(OWNER), table.held(OTHER)) == (0, 0)


def test_a_request_that_was_given_back_was_none(half: Any, table: Any) -> None:
    table.set_balance(OTHER, None, 50, WALL)
    both = claims(half)
    table.admit(both, 30, 7, NOW, WALL)
    table.finish(both, 30, 7, 0, 0, 0, NOW, NOW)
    assert table.left(both, NOW) == [2, 100, 3, 50]


@pytest.mark.parametrize(
    ("tokens", "money", "before", "refused"),
    [(101, 0, 0, Refused(1, NEVER)), (1, 51, 0, Refused(3, NEVER)), (1, 0, 3, Refused(2, NEVER))],
)
def test_what_one_claim_refuses_is_taken_of_none(
    half: Any, table: Any, tokens: int, money: int, before: int, refused: Refused
) -> None:
    table.set_balance(OTHER, None, 50, WALL)
    both = claims(half)
    for _ in range(before):
        table.finish(both, 1, 0, 1, 1, 0, NOW, NOW) if table.admit(both, 1, 0, NOW, WALL) else None
    left = table.left(both, NOW)
    assert table.admit(both, tokens, money, NOW, WALL) == refused
    assert table.left(both, NOW) == left
    assert (table.held(OWNER), table.held(OTHER)) == (0, 0)


def test_an_account_that_is_not_open_refuses_by_its_place(half: Any, table: Any) -> None:
    assert table.admit(claims(half), 1, 1, NOW, WALL) == Refused(3, NOT_OPEN)
    assert table.held(OWNER) == 0


def test_a_claim_that_finds_no_slot_leaves_nothing_behind(half: Any, path: Path) -> None:
    table = half.Table(path, 0)
    table.reserve(OWNER, [], NOW, WALL, FOREVER)
    for n in range(63):
        table.reserve(n.to_bytes(8, "little") + bytes(8), [], NOW, WALL, FOREVER)
    with pytest.raises(TableFull):
        table.admit(claims(half), 1, 1, NOW, WALL)
    assert table.held(OWNER) == 1


@pytest.mark.parametrize("amounts", [(-1, 0), (1 << 40, 0), (0, -1), (0, 1 << 62)])
def test_amounts_that_no_limit_counts_are_refused(half: Any, table: Any, amounts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        table.admit(claims(half), *amounts, NOW, WALL)
    with pytest.raises(ValueError, match="out of range"):
        table.finish(claims(half), 1, 1, 1, *amounts, NOW, NOW)
    assert table.held(OWNER) == 0


@pytest.mark.parametrize(
    ("owner", "limits"), [(b"short", []), (OWNER, [(RATE, 5, 3, 0)]), (OWNER, [(9, 5, 0, 0)]), (OWNER, [(3, 5, 0, -1)])]
)
def test_a_claim_that_makes_no_sense_is_refused(half: Any, owner: bytes, limits: Any) -> None:
    with pytest.raises(ValueError, match=r"owner|claim|limit"):
        half.Claim(owner, limits, FOREVER)


def test_owners_do_not_share(table: Any) -> None:
    reserve(table, (RATE, 1, 1, 0))
    assert reserve(table, (RATE, 1, 1, 0), owner=OTHER) == [0]


def test_owners_with_the_same_first_half_are_told_apart(table: Any) -> None:
    twins = [OWNER[:8] + bytes([n]) * 8 for n in range(20)]
    for n, owner in enumerate(twins):
        assert reserve(table, (WINDOW, 100, n, 1), owner=owner) == [100 - n]
    for n, owner in enumerate(twins):
        assert table.remaining(owner, [(WINDOW, 100, 0, 1)], NOW) == [100 - n]


def test_a_full_table_takes_idle_slots_and_only_those(half: Any, path: Path) -> None:
    table = half.Table(path, 0)
    owners = [n.to_bytes(16, "little") for n in range(65)]
    limit = (RATE, 5, 1, 0)
    for owner in owners[:64]:
        table.reserve(owner, [limit], NOW, WALL, WALL + SECOND)
    with pytest.raises(TableFull):
        table.reserve(owners[64], [limit], NOW, WALL + 2 * SECOND, FOREVER)  # every slot holds a reservation
    settle(table, [limit], [1], owner=owners[9])
    with pytest.raises(TableFull):
        table.reserve(owners[64], [limit], NOW, WALL, FOREVER)  # settled, but it still counts
    assert table.reserve(owners[64], [limit], NOW, WALL + 2 * SECOND, FOREVER) == [4]
    assert table.remaining(owners[9], [limit], NOW) == [5]
    assert table.remaining(owners[8], [limit], NOW) == [4]


def test_a_slot_with_an_open_balance_is_never_taken(table: Any) -> None:
    for n in range(64):
        table.set_balance(n.to_bytes(16, "little"), None, n, WALL)
    with pytest.raises(TableFull):
        table.reserve(OTHER, [], NOW, FOREVER, FOREVER)
    assert [table.balance(n.to_bytes(16, "little")) for n in range(64)] == list(range(64))


def test_a_taken_slot_brings_nothing_of_its_last_owner(table: Any) -> None:
    limits = [(GAUGE, 5, 1, 0), (RATE, 5, 3, 0), (RATE + 1, 5, 3, 0), *((WINDOW + n, 5, 3, 9) for n in range(4))]
    for n in range(64):
        table.reserve(n.to_bytes(16, "little"), limits, NOW, WALL, WALL)
        settle(table, limits, [1, *[3] * 6], owner=n.to_bytes(16, "little"))
    table.reserve(OTHER, [], NOW, WALL + 1, FOREVER)
    assert table.remaining(OTHER, limits, NOW) == [4, 5, 5, 5, 5, 5, 5]
    assert table.balance(OTHER) is None


def test_a_dead_workers_reservations_are_given_back(half: Any, path: Path) -> None:
    dead, alive = half.Table(path, 1), half.Table(path, 2)
    limit = (GAUGE, 3, 1, 0)
    for owner in (OWNER, OWNER, OTHER):
        dead.reserve(owner, [limit], NOW, WALL, FOREVER)
    alive.reserve(OWNER, [limit], NOW, WALL, FOREVER)
    assert alive.reserve(OWNER, [limit], NOW, WALL, FOREVER) == Refused(0, NEVER)
    assert half.Table(path).release_worker(1) == 0
    assert (alive.held(OWNER), alive.held(OTHER)) == (1, 0)
    settle(dead, [limit], [0])  # a ghost: its column is empty
    assert alive.held(OWNER) == 1


def test_the_table_outlives_whoever_has_it_open(half: Any, path: Path) -> None:
    first = half.Table(path, 0)
    first.set_balance(OWNER, None, 77, WALL)
    reserve(first, (WINDOW, 10, 4, 1))
    first.bump(3)
    first.close()
    prepare(path, slots=64, workers=4)
    second = half.Table(path, 1)
    assert second.balance(OWNER) == 77
    assert second.remaining(OWNER, [(WINDOW, 10, 0, 1)], NOW) == [6]
    assert (second.counter(3), second.counter(4)) == (1, 0)


def test_growing_keeps_every_owner(half: Any, path: Path) -> None:
    table = half.Table(path, 0)
    owners = [os.urandom(16) for _ in range(40)]
    for n, owner in enumerate(owners):
        table.set_balance(owner, None, n, WALL)
        table.reserve(owner, [(WINDOW + 3, 100, n, 5)], NOW, WALL, FOREVER)
    table.bump(0)
    table.close()
    prepare(path, slots=1000, workers=100)
    grown = half.Table(path, 99)
    assert (grown.slots, grown.counter(0)) == (1024, 1)
    for n, owner in enumerate(owners):
        assert grown.balance(owner) == n
        assert grown.remaining(owner, [(WINDOW + 3, 100, 0, 5)], NOW) == [100 - n]
        assert grown.held(owner) == 0


def test_a_reboot_forgets_rates_and_nothing_else(half: Any, path: Path) -> None:
    prepare(path, slots=64, workers=4, boot=b"first")
    limits = [(RATE, 5, 5, 0), (WINDOW, 5, 5, 1)]
    reserve(half.Table(path, 0), *limits)
    prepare(path, slots=64, workers=4, boot=b"first")
    assert half.Table(path).remaining(OWNER, limits, NOW) == [0, 0]
    prepare(path, slots=64, workers=4, boot=b"second")
    assert half.Table(path).remaining(OWNER, limits, NOW) == [5, 0]


@pytest.mark.parametrize("content", [b"", b"short", b"X" * 8192, b"FABUCKET" + b"\xff" * 8184])
def test_a_file_that_is_no_table_is_refused_and_left_alone(half: Any, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(TableError, match="other"):
        prepare(path, slots=64, workers=1)
    with pytest.raises(TableError, match="other"):
        half.Table(path)
    assert path.read_bytes() == content


def test_a_table_of_another_size_is_refused(half: Any, path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(TableError, match="damaged"):
        half.Table(path)


def test_a_disk_without_space_refuses_the_file_at_once(tmp_path: Path) -> None:
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from fastanchor._speedups.bucket import prepare\n"
        "try: prepare(sys.argv[1], slots=4096, workers=1)\n"
        "except OSError: sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "table")], check=False)
    assert done.returncode == 7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.lock"]


@pytest.mark.parametrize(
    ("limits", "used"),
    [
        ([(8, 1, 1, 0)], [0]), ([(-1, 1, 1, 0)], [0]), ([(RATE, -1, 1, 0)], [0]), ([(RATE, 1, -1, 0)], [0]),
        ([(RATE, 1 << 40, 1, 0)], [0]), ([(RATE, 1, 1 << 40, 0)], [0]), ([(WINDOW, 1, 1, -1)], [0]),
        ([(WINDOW, 1, 1, 1 << 23)], [0]), ([(BALANCE, 0, 1 << 62, 0)], [0]), ([(RATE, 1, 1 << 70, 0)], [0]),
        ([(RATE, 1, 1, 0), (GAUGE, 1, 1, 0)], [0, 0]), ([(RATE, 1, 0, 0)] * 17, [0] * 17),
    ],
)
def test_limits_out_of_range_are_refused_before_anything_is_taken(table: Any, limits: Any, used: Any) -> None:
    with pytest.raises(ValueError, match=r"limit|gauge"):
        reserve(table, *limits)
    with pytest.raises(ValueError, match=r"limit|gauge"):
        settle(table, limits, used)
    with pytest.raises(ValueError, match=r"limit|gauge"):
        table.remaining(OWNER, limits, NOW)
    assert table.held(OWNER) == 0


@pytest.mark.parametrize("used", [[-1], [1 << 40], [1 << 80], [1, 1], []])
def test_used_amounts_out_of_range_are_refused(table: Any, used: list[int]) -> None:
    reserve(table, (RATE, 5, 1, 0))
    with pytest.raises(ValueError, match=r"limit|argument|shorter|longer"):
        settle(table, [(RATE, 5, 1, 0)], used)
    assert table.held(OWNER) == 1


def test_wrong_owners_workers_and_counters_are_refused(half: Any, path: Path) -> None:
    table = half.Table(path, 0)
    for owner in (b"", b"short", bytes(17)):
        with pytest.raises(ValueError, match="16 bytes"):
            reserve(table, owner=owner)
        with pytest.raises(ValueError, match="16 bytes"):
            table.balance(owner)
    for worker in (-2, table.workers):
        with pytest.raises(ValueError, match="workers"):
            half.Table(path, worker)
    with pytest.raises(ValueError, match="workers"):
        table.release_worker(-1)
    with pytest.raises(ValueError, match="counters"):
        table.counter(64)
    with pytest.raises(ValueError, match="counters"):
        table.bump(-1)
    with pytest.raises(ValueError, match="worker"):
        reserve(half.Table(path))


def test_a_huge_overrun_saturates(table: Any) -> None:
    limits = [(RATE, 1, 1, 0), (WINDOW, 10, 1, 1), (BALANCE, 0, 1, 0)]
    table.set_balance(OWNER, None, 1, WALL)
    reserve(table, (WINDOW, 10, 1, 1))
    for _ in range(3):
        reserve(table, (GAUGE, 9, 1, 0))
        settle(table, limits, [(1 << 40) - 1, (1 << 40) - 1, (1 << 62) - 1])
    left = table.remaining(OWNER, limits, NOW)
    assert left[:2] == [0, 0]
    assert left[2] == -(1 << 62)
    assert reserve(table, (RATE, 1, 1, 0)).wait > 1000 * MINUTE
