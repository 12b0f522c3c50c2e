"""From samples to verdicts: ratios within rounds, their median, and each reason to refuse one."""

from __future__ import annotations

from typing import Any

import pytest

from bench.cases.case import Case, Goal, Metric, Sample
from bench.rounds import Outcome
from bench.verdicts import Spread, Verdict, judge


def never(*_: Any) -> Sample:
    raise AssertionError("verdicts measure nothing")


def case(**more: Any) -> Case:
    of_metric = {name: more.pop(name) for name in ("added", "goal", "more_is_better") if name in more}
    return Case("work", "work of some kind", (Metric("cpu", "CPU", "µs", **of_metric),), never, **more)


def outcomes(of: Case, samples: dict[str, list[Sample | None]]) -> list[Outcome]:
    return [
        Outcome(of, name, number, sample, "" if sample else "1 failed request")
        for name, row in samples.items()
        for number, sample in enumerate(row)
    ]


def cost(*values: float, **more: Any) -> list[Sample | None]:
    return [Sample({"cpu": value}, **more) for value in values]


def verdict(of: Case, samples: dict[str, list[Sample | None]], subject: str = "gateway") -> Verdict:
    (row,) = judge(outcomes(of, samples))
    return next(v for v in row.verdicts if v.subject == subject)


def test_the_ratio_is_the_median_of_ratios_within_rounds() -> None:
    found = verdict(case(), {"nginx": cost(10, 20, 40), "gateway": cost(20, 60, 40)})
    assert found.ratio == Spread(2.0, 1.0, 3.0)
    assert found.value == Spread(40, 20, 60)


def test_an_added_metric_is_taken_less_the_direct_connection() -> None:
    samples = {"direct": cost(10, 20), "nginx": cost(20, 40), "gateway": cost(40, 50)}
    assert verdict(case(added=True), samples).ratio == Spread(2.25, 1.5, 3.0)
    assert verdict(case(added=True), samples, "direct").value == Spread(15, 10, 20)


def test_a_round_in_which_the_reference_adds_nothing_makes_no_ratio() -> None:
    samples = {"direct": cost(10, 20), "nginx": cost(9, 40), "gateway": cost(40, 60)}
    assert verdict(case(added=True), samples).ratio == Spread(2.0, 2.0, 2.0)


def test_a_refused_window_counts_for_nothing_and_is_counted() -> None:
    found = verdict(case(), {"nginx": cost(10, 10), "gateway": [*cost(20), None]})
    assert (found.ratio, found.rounds, found.refused) == (Spread(2.0, 2.0, 2.0), 2, 1)


def test_without_one_good_window_there_is_no_number() -> None:
    found = verdict(case(), {"nginx": cost(10), "gateway": [None]})
    assert (found.value, found.ratio, found.why) == (None, None, "refused: 1 failed request")


def test_a_costly_rig_refuses_the_ratio() -> None:
    heavy = cost(20, 20, limits=["load and stub needed 9 µs beside 20 µs"])
    found = verdict(case(), {"nginx": cost(10, 10, 10), "gateway": [*heavy, *cost(20)]})
    assert found.ratio is None
    assert found.why.startswith("rig-bound: load and stub needed")
    assert found.value == Spread(20, 20, 20)


def test_a_limit_may_say_what_kind_it_is() -> None:
    late = cost(20, limits=["late: 1% of the events by over 30 ms"])
    assert verdict(case(), {"nginx": cost(10), "gateway": late}).why == "late: 1% of the events by over 30 ms"


def test_one_limited_round_of_three_is_not_yet_a_reason() -> None:
    limited = cost(20, limits=["once"])
    assert verdict(case(), {"nginx": cost(10, 10, 10), "gateway": [*limited, *cost(20, 20)]}).why == ""


@pytest.mark.parametrize("too", [False, True])
def test_the_references_own_limits_count_where_the_case_says_so(too: bool) -> None:
    samples = {"nginx": cost(10, limits=["the gateway used only 70% of its core"]), "gateway": cost(20)}
    assert verdict(case(reference_too=too), samples).why.endswith("(nginx)") is too


@pytest.mark.parametrize(("direct", "refused"), [(140.0, True), (160.0, False)])
def test_the_direct_connection_must_be_clearly_faster(direct: float, refused: bool) -> None:
    samples: dict[str, list[Sample | None]] = {
        "direct": [Sample({}, throughput=direct)],
        "nginx": cost(10),
        "gateway": cost(20, throughput=100.0),
    }
    assert verdict(case(), samples).why.startswith("rig-bound: the direct connection") is refused


@pytest.mark.parametrize(("copy", "refused"), [(20.8, False), (22.0, True), (18.0, True)])
def test_a_gateway_that_differs_from_itself_refuses_all_ratios(copy: float, refused: bool) -> None:
    samples = {"nginx": cost(10), "gateway": cost(20), "gateway again": cost(copy), "other": cost(30)}
    for subject in ("gateway", "other"):
        assert verdict(case(), samples, subject).why.startswith("noise") is refused


def test_the_reference_has_no_ratio_to_itself() -> None:
    assert verdict(case(), {"nginx": cost(10), "gateway": cost(20)}, "nginx").ratio is None


@pytest.mark.parametrize(("cpu", "goal"), [(31.0, "missed"), (30.0, "met"), (21.0, "met"), (20.0, "reached")])
def test_a_promised_ratio_is_missed_met_or_more(cpu: float, goal: str) -> None:
    samples = {"nginx": cost(10), "fastanchor": cost(cpu)}
    assert verdict(case(goal=Goal(3, 2)), samples, "fastanchor").goal == goal


@pytest.mark.parametrize(("rate", "goal"), [(5.0, "missed"), (8.5, "met"), (10.0, "reached")])
def test_where_more_is_better_a_promise_is_a_lower_bound(rate: float, goal: str) -> None:
    of = case(goal=Goal(0.85, 1.0), more_is_better=True)
    assert verdict(of, {"nginx": cost(10), "fastanchor": cost(rate)}, "fastanchor").goal == goal


def test_a_promised_value_needs_no_reference() -> None:
    assert verdict(case(goal=Goal(24, 12, ratio=False)), {"fastanchor": cost(18)}, "fastanchor").goal == "met"


def test_a_refused_ratio_keeps_no_promise_and_breaks_none() -> None:
    noisy = {"nginx": cost(10), "fastanchor": cost(20), "fastanchor again": cost(30)}
    assert verdict(case(goal=Goal(3, 2)), noisy, "fastanchor").goal == ""


def test_nobody_else_has_promised_anything() -> None:
    assert verdict(case(goal=Goal(3, 2)), {"nginx": cost(10), "gateway": cost(20)}).goal == ""
