"""Interleaving: every round measures every case on every subject, in an order that turns from round to round.

What drifts on the machine during a run then meets all subjects alike, and a ratio is only ever made of two numbers of
the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.cases import Bench, Case, Sample
from bench.rig import Refused
from bench.subjects import Subject, SubjectError


@dataclass(frozen=True)
class Outcome:
    """One measurement: a sample, or the reason why there is none."""

    case: Case
    subject: str
    round: int
    sample: Sample | None
    refused: str = ""


def plan(cases: Sequence[Case], subjects: Sequence[Subject], rounds: int) -> Iterator[tuple[int, Case, Subject]]:
    """All measurements of a run in their order."""
    for number in range(rounds):
        for case in cases:
            for subject in _turned(subjects, number):
                if number < case.rounds and (subject.recipe is not None or not case.fresh):
                    yield number, case, subject


def run(
    bench: Bench, steps: Sequence[tuple[int, Case, Subject]], progress: Callable[[int, Outcome], None]
) -> list[Outcome]:
    """Takes the steps one after the other; `progress` hears the number of each and its outcome."""
    outcomes = []
    for number, (round_number, case, subject) in enumerate(steps, 1):
        try:
            outcome = Outcome(case, subject.name, round_number, case.measure(bench, subject))
        except (Refused, SubjectError) as error:
            outcome = Outcome(case, subject.name, round_number, None, str(error))
        progress(number, outcome)
        outcomes.append(outcome)
    return outcomes


def _turned(subjects: Sequence[Subject], number: int) -> list[Subject]:
    """Rotated by one each round, and backwards every other one: each subject follows each other equally often."""
    at = number % len(subjects)
    turned = [*subjects[at:], *subjects[:at]]
    return turned[::-1] if number % 2 else turned
