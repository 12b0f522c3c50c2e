"""Interleaving: every round measures every case on every subject, in an order that turns from round to round.

What drifts on the machine during a run then meets all subjects alike, and a ratio is only ever made of two numbers of
the same round.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.cases.case import Bench, Case, Sample
from bench.rig import Refused
from bench.subjects import Subject, SubjectError

Step = tuple[int, Case, Subject]


@dataclass(frozen=True)
class Outcome:
    """One measurement: a sample, or the reason why there is none. It took so many seconds."""

    case: Case
    subject: str
    round: int
    sample: Sample | None
    refused: str = ""
    took: float = 0.0


def plan(cases: Sequence[Case], subjects: Sequence[Subject], rounds: int) -> Iterator[Step]:
    """All measurements of a run in their order."""
    for number in range(rounds):
        for case in cases:
            for subject in _turned(subjects, number):
                if number < case.rounds and case.fits(subject):
                    yield number, case, subject


def run(
    bench: Bench, steps: Sequence[Step], progress: Callable[[int, Outcome], None], within: float = math.inf
) -> list[Outcome]:
    """Takes the steps one after the other; `progress` hears the number of each and its outcome.

    A round that would not end `within` seconds of the start is not begun. The first one always is.
    """
    ends = time.monotonic() + within
    outcomes: list[Outcome] = []
    for number, step in enumerate(steps, 1):
        if outcomes and step[0] > outcomes[-1].round and time.monotonic() + _expected(steps, step[0], outcomes) > ends:
            break
        outcomes.append(_measure(bench, *step))
        progress(number, outcomes[-1])
    return outcomes


def _measure(bench: Bench, number: int, case: Case, subject: Subject) -> Outcome:
    begun = time.monotonic()
    try:
        sample, refused = case.measure(bench, subject), ""
    except (Refused, SubjectError) as error:
        sample, refused = None, str(error)
    return Outcome(case, subject.name, number, sample, refused, time.monotonic() - begun)


def _expected(steps: Sequence[Step], number: int, outcomes: Sequence[Outcome]) -> float:
    """How long this round will take, if each step takes as long as when it was last made."""
    took = {(outcome.case.name, outcome.subject): outcome.took for outcome in outcomes}
    return sum(took.get((case.name, subject.name), 0.0) for of, case, subject in steps if of == number)


def _turned(subjects: Sequence[Subject], number: int) -> list[Subject]:
    """Rotated by one each round, and backwards every other one: each subject follows each other equally often."""
    at = number % len(subjects)
    turned = [*subjects[at:], *subjects[:at]]
    return turned[::-1] if number % 2 else turned
