"""Slopes of counts, and whether they stay within what is recorded.

A slope is what twice as many cost more than once as many, for each: whatever happens once, or before, drops out of it.
Chance is left in one thing: a worker may turn its loop once more or less for what comes in one step. So the least of a
work's tries counts, and a recorded value is an upper bound, plus `MARGIN`, plus a client's share of a turn.

Instructions are recorded for each build of Python, as each has its own; where none are recorded, they are told and
bound nobody.
"""

from __future__ import annotations

import json
import platform
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.counts.lockstep import CLIENTS, Lockstep
from bench.counts.meters import Meter, instructions, syscalls
from bench.counts.works import Work

RECORDED = Path(__file__).parent / "recorded.json"
MARGIN = 0.05
OPTIMISED = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
PYTHON = f"{sys.implementation.name} {platform.python_version()} {platform.machine()}" + (" optimised" * OPTIMISED)
SYSCALLS = "syscalls"
INSTRUCTIONS = f"instructions, {PYTHON}"
TURN = {SYSCALLS: 3, INSTRUCTIONS: 15_000}  # of trio's loop, shared by all clients of a step
Recorded = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Count:
    """What one work costs in one unit. `detail` says of what it is made up, `recorded` is None where nothing is."""

    work: str
    unit: str
    each: float
    detail: str
    recorded: float | None

    @property
    def over(self) -> bool:
        """Whether it costs more than is recorded."""
        return self.recorded is not None and self.each > self.recorded * (1 + MARGIN) + TURN[self.unit] / CLIENTS


def measure(folder: Path, works: Sequence[Work], told: Callable[[Count], None]) -> list[Count]:
    """Counts everything; what callgrind writes stays in the folder. `told` hears of each count.

    Raises:
        MeterError, LockstepError, BuildError: it cannot be counted; the text says why.
    """
    recorded = read()
    counts: list[Count] = []

    def note(unit: str, work: Work, slope: Counter[str]) -> None:
        detail = " ".join(f"{name} {_number(calls)}" for name, calls in slope.most_common() if calls >= 0.01)
        counts.append(Count(work.name, unit, slope.total(), detail, recorded.get(unit, {}).get(work.name)))
        told(counts[-1])

    with Lockstep() as lockstep, syscalls(lockstep, folder) as meter:
        for work in works:
            note(SYSCALLS, work, _least(meter, lockstep, work, work.times[0]))
    with Lockstep() as lockstep, instructions(lockstep, folder) as meter:
        for work in works:
            note(INSTRUCTIONS, work, _least(meter, lockstep, work, work.times[1]))
    return counts


def _least(meter: Meter, lockstep: Lockstep, work: Work, times: int) -> Counter[str]:
    return min((_slope(meter, lockstep, work, times) for _ in range(work.tries)), key=Counter.total)


def _slope(meter: Meter, lockstep: Lockstep, work: Work, times: int) -> Counter[str]:
    work.do(lockstep, times // 2)  # caches fill, code is specialised: what happens to the first ones only
    once, twice = (meter(partial(work.do, lockstep, count)) for count in (times, 2 * times))
    return Counter({name: (twice[name] - once[name]) / times / CLIENTS for name in once | twice})


def read() -> Recorded:
    """What is recorded, by unit and work."""
    recorded: Recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    return recorded


def record(counts: Sequence[Count]) -> None:
    """Make these the recorded values; those of other works and other versions of Python stay."""
    recorded = read()
    for count in counts:
        recorded.setdefault(count.unit, {})[count.work] = round(count.each, 2)
    RECORDED.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


def line(count: Count) -> str:
    """One count for the terminal."""
    beside = "not recorded" if count.recorded is None else f"recorded {_number(count.recorded)}"
    verdict = f"  OVER by {count.each / (count.recorded or 1) - 1:.1%}" if count.over else ""
    detail = f"  ({count.detail})" if count.unit == SYSCALLS else ""
    unit = count.unit.partition(",")[0]
    return f"{unit:<13} {count.work:<20} {_number(count.each):>10}  {beside}{verdict}{detail}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
