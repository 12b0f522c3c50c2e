"""From outcomes to verdicts: medians, ratios to the reference made within each round, and the refusal to show a ratio.

A ratio is refused when
- the rig was a good part of what was measured, or the work was not what it should be (the limits of the samples), in
  half of the rounds or more;
- the direct connection is not CLEARLY times as fast as the gateway, so that the rig may have been the bottleneck;
- the gateway against a second copy of itself (A/A) is off by more than NOISE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.cases.case import Case, Metric
from bench.rounds import Outcome

CLEARLY = 1.5
NOISE = 0.05
REFERENCE = "nginx"
PROMISER = "fastanchor"
DIRECT = "direct"
AGAIN = " again"  # the name of an A/A copy ends in this


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        return cls(median(values), min(values), max(values)) if values else None


@dataclass(frozen=True)
class Verdict:
    """One metric of one subject. `value` is what it costs or, for added metrics, what it adds to the direct connection.

    `ratio` is None where there is none to make, or where `why` says what is against it.
    """

    subject: str
    value: Spread | None
    ratio: Spread | None
    why: str = ""
    rounds: int = 0
    refused: int = 0
    goal: str = ""  # "met", "reached" (what is reached for), "missed", or "" where nothing is promised or known


@dataclass(frozen=True)
class Row:
    """One metric over all subjects, in the order of the run."""

    case: Case
    metric: Metric
    verdicts: tuple[Verdict, ...]


def judge(outcomes: Sequence[Outcome]) -> list[Row]:
    """All rows of a run, in the order in which its cases and subjects first appear."""
    cases = list(dict.fromkeys(outcome.case for outcome in outcomes))
    subjects = sorted(
        dict.fromkeys(outcome.subject for outcome in outcomes), key=lambda name: (name != DIRECT, name != REFERENCE)
    )
    rows = []
    for case in cases:
        mine = {subject: [o for o in outcomes if o.case is case and o.subject == subject] for subject in subjects}
        for metric in case.metrics:
            noise = _noise(metric, mine)
            rows.append(Row(case, metric, tuple(_verdict(case, metric, subject, mine, noise) for subject in subjects)))
    return rows


def _verdict(case: Case, metric: Metric, subject: str, mine: dict[str, list[Outcome]], noise: str) -> Verdict:
    own = mine[subject]
    refused = [outcome.refused for outcome in own if outcome.sample is None]
    values = _values(metric, subject, mine)
    ratio = (
        _ratio(values, _values(metric, REFERENCE, mine))
        if metric.ratio and subject not in (DIRECT, REFERENCE)
        else None
    )
    why = noise or _rig_bound(case, subject, mine) if ratio else ""
    if not values and refused:
        why = f"refused: {refused[0]}"
    value, ratio = Spread.of(list(values.values())), None if why else ratio
    return Verdict(subject, value, ratio, why, len(own), len(refused), _goal(metric, subject, value, ratio))


def _goal(metric: Metric, subject: str, value: Spread | None, ratio: Spread | None) -> str:
    """Whether the metric keeps its promise. Only FastAnchor has made any."""
    goal = metric.goal
    seen = None if goal is None else ratio if goal.ratio else value
    if goal is None or seen is None or not subject.startswith(PROMISER):
        return ""
    sign = -1 if metric.more_is_better else 1
    if sign * seen.median <= sign * goal.reach:
        return "reached"
    return "met" if sign * seen.median <= sign * goal.most else "missed"


def _values(metric: Metric, subject: str, mine: dict[str, list[Outcome]]) -> dict[int, float]:
    """The metric by round; an added one less the direct connection's of the same round."""
    raw = {
        o.round: o.sample.values[metric.key]
        for o in mine.get(subject, ())
        if o.sample and metric.key in o.sample.values
    }
    if not metric.added or subject == DIRECT:
        return raw
    base = _values(metric, DIRECT, mine)
    return {number: value - base[number] for number, value in raw.items() if number in base}


def _ratio(values: dict[int, float], reference: dict[int, float]) -> Spread | None:
    """Round by round; a round in which the reference adds nothing measurable has none."""
    return Spread.of(
        [value / reference[number] for number, value in values.items() if reference.get(number, 0.0) > 0.0]
    )


def _rig_bound(case: Case, subject: str, mine: dict[str, list[Outcome]]) -> str:
    for name in (subject, REFERENCE) if case.reference_too else (subject,):
        samples = [outcome.sample for outcome in mine.get(name, ()) if outcome.sample]
        limited = [sample.limits[0] for sample in samples if sample.limits]
        if limited and 2 * len(limited) >= len(samples):
            kind = "" if ":" in limited[-1] else "rig-bound: "
            return kind + limited[-1] + (f" ({name})" if name != subject else "")
    speed = {
        name: {o.round: o.sample.throughput for o in mine.get(name, ()) if o.sample and o.sample.throughput}
        for name in (DIRECT, subject)
    }
    lead = [speed[DIRECT][number] / rate for number, rate in speed[subject].items() if number in speed[DIRECT]]
    if lead and median(lead) < CLEARLY:
        return f"rig-bound: the direct connection is only {median(lead):.2f} times as fast"
    return ""


def _noise(metric: Metric, mine: dict[str, list[Outcome]]) -> str:
    for copy in mine:
        if copy.endswith(AGAIN):
            same = _ratio(_values(metric, copy, mine), _values(metric, copy.removesuffix(AGAIN), mine))
            if same and abs(same.median - 1) > NOISE:
                return f"noise: {copy.removesuffix(AGAIN)} against itself is {same.median:.2f}"
    return ""
