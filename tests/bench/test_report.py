"""The report says what it was given: every row, every refusal, in all four forms."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from bench import report
from bench.chart import chart
from bench.rounds import Outcome
from bench.verdicts import judge
from tests.bench.test_verdicts import case, cost, outcomes

FACTS = report.conditions(rounds=2, seconds=1.0, versions={"nginx": "nginx/1"})


@pytest.fixture
def measured() -> list[Outcome]:
    samples = {"nginx": cost(10, 10), "gateway": cost(20, 30), "tiny <&>": cost(2, 2, limits=["rig too dear"])}
    return outcomes(case(), samples)


def test_the_table_shows_values_ratios_and_why_there_is_none(measured: list[Outcome]) -> None:
    head, _, row, note = report.table(judge(measured)).splitlines()
    assert [cell.strip() for cell in head.split("|")] == ["work", "nginx", "gateway", "× nginx", "tiny <&>", "× nginx"]
    assert [cell.strip() for cell in row.split("|")] == [
        "CPU [µs]",
        "10",
        "25",
        "2.50× (2.00-3.00)",
        "2",
        "rig-bound [1]",
    ]
    assert note == "[1] rig-bound: rig too dear"


def test_markdown_has_the_same_cells_and_the_conditions(measured: list[Outcome]) -> None:
    text = report.markdown(judge(measured), FACTS)
    assert "| CPU [µs] | 10 | 25 | 2.50× (2.00-3.00) | 2 | rig-bound [1] |" in text
    assert FACTS["kernel"] in text
    assert "nginx/1" in text


def test_the_document_holds_every_sample_and_verdict(measured: list[Outcome]) -> None:
    document = json.loads(report.document(measured, judge(measured), FACTS))
    assert len(document["samples"]) == 6
    verdicts = document["rows"][0]["verdicts"]
    assert verdicts["gateway"]["ratio"] == {"median": 2.5, "low": 2.0, "high": 3.0}
    assert verdicts["tiny <&>"]["why_no_ratio"] == "rig-bound: rig too dear"
    assert document["facts"]["rounds"] == 2


def test_the_chart_is_well_formed_and_draws_no_refused_ratio(measured: list[Outcome]) -> None:
    root = ElementTree.fromstring(chart(judge(measured), report.caption(FACTS)))
    text = " ".join(node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text"))
    assert "2.50×" in text
    assert "tiny" not in text


def test_the_chart_of_nothing_is_still_a_chart() -> None:
    assert ElementTree.fromstring(chart([], "nothing")).tag.endswith("svg")


def test_refused_windows_and_strangers_on_the_machine_are_named(measured: list[Outcome]) -> None:
    assert measured[0].sample is not None
    measured[0].sample.facts["foreign"] = 0.4
    said = report.warnings([*measured, Outcome(case(), "gateway", 2, None, "1 failed request")])
    assert said[0] == "gateway, work, round 3: refused: 1 failed request"
    assert "in 1 of 1 windows (most: 40%)" in said[1]


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (3.14159, "3.14"), (31.4159, "31.4"), (314.159, "314"), (31415.9, "31,416")]
)
def test_numbers_have_three_digits_that_matter(value: float, text: str) -> None:
    assert report.number(value) == text
