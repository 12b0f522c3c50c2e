"""A run from end to end, in small: every case on the direct connection and, where installed, on nginx."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import procs, rounds
from bench.__main__ import main
from bench.build import Native
from bench.cases import CASES
from bench.cases.case import Bench, Case, Sample, Scale
from bench.recipes import RECIPES, Recipe
from bench.rig import Load, Refused, Rig
from bench.session import Order, carry_out
from bench.subjects import Subject, SubjectError, at_url, direct, launch
from bench.verdicts import judge

needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


def test_every_case_of_the_direct_connection_gives_its_fields(native: Native) -> None:
    run = carry_out(Order(CASES, Scale.quick(), 1, gateways=[]), lambda *_: None)
    found = {outcome.case.name: outcome for outcome in run.outcomes}
    assert {name: outcome.refused for name, outcome in found.items() if outcome.refused} == {}
    assert found.keys() == {"plain", "paced", "translated", "translated-gemini", "burst", "large", "latency", "crowd"}
    for outcome in found.values():
        assert outcome.sample is not None
        assert outcome.sample.values.keys() >= {m.key for m in outcome.case.metrics} - {"cpu"}
        assert outcome.sample.facts["windows"]
    crowd = found["crowd"].sample
    assert crowd is not None
    assert crowd.values["streams"] == Scale.quick().held_streams


@needs_nginx
def test_every_case_of_nginx_gives_every_metric(native: Native, tmp_path: Path) -> None:
    arguments = ["--quick", "--gateway", "none", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "bench.json").read_text())
    rows = {(row["case"], row["metric"]): row["verdicts"]["nginx"] for row in document["rows"]}
    usual = [case for case in CASES if not case.extra and case.name != "books"]  # which only FastAnchor keeps
    assert rows.keys() == {(case.name, metric.key) for case in usual for metric in case.metrics}
    assert [key for key, row in rows.items() if row["value"] is None] == []
    assert document["facts"]["versions"]["nginx"].startswith("nginx version")
    assert (tmp_path / "bench.md").read_text().startswith("| work | direct | nginx |")
    assert (tmp_path / "bench.svg").read_text().startswith("<svg")


def test_fastanchor_loses_and_mixes_up_nothing_under_load(native: Native) -> None:
    names = ("plain", "burst", "paced", "translated", "translated-gemini", "large", "crowd")
    cases = [case for case in CASES if case.name in names]
    run = carry_out(Order(cases, Scale.quick(), 1, [("fastanchor", RECIPES["fastanchor"])]), lambda *_: None)
    own = [outcome for outcome in run.outcomes if outcome.subject == "fastanchor"]
    assert {outcome.case.name: outcome.refused for outcome in own if outcome.refused} == {}
    assert len(own) == len(cases)


@needs_nginx
def test_a_gateway_that_stops_in_the_middle_is_refused_not_measured(running: Rig) -> None:
    with launch(RECIPES["nginx"], running) as nginx:
        gone = Subject("gone", nginx.port, nginx.pid)
    with pytest.raises(Refused, match="warm-up failed"):
        running.measure(gone, Load(requests=10))


def test_held_streams_stand_still_until_the_block_ends(running: Rig) -> None:
    target = direct(running)
    with running.held(target, Load(20, events=1000, pace_ms=5000)):
        assert len(procs.tree(running.stub_pid)) == 1
        window = running.measure(target, Load(requests=10))
    assert window.requests == 10


def test_a_stream_that_ends_while_it_should_be_held_is_refused(running: Rig) -> None:
    with pytest.raises(Refused, match="streams"), running.held(direct(running), Load(5, events=2, pace_ms=1)):
        pass


def test_a_gateway_that_does_not_start_shows_its_last_words(running: Rig) -> None:
    broken = Recipe("broken", lambda place: ["sh", "-c", "echo out of luck; exit 3"], lambda: None)
    with pytest.raises(SubjectError, match=r"broken ended with status 3.*\n.*out of luck"), launch(broken, running):
        pass


def test_a_gateway_that_is_missing_says_so(native: Native) -> None:
    absent = Recipe("absent", lambda place: [], lambda: "absent is not installed")
    with pytest.raises(SubjectError, match="absent is not installed"):
        carry_out(Order(CASES, Scale.quick(), 1, [("absent", absent)]), lambda *_: None)


@pytest.mark.parametrize("url", ["http://example.org:80", "https://127.0.0.1:443", "http://127.0.0.1", "litellm"])
def test_a_peer_must_be_known_or_a_local_address(url: str) -> None:
    with pytest.raises(SubjectError, match="a peer is one of"):
        at_url(url)


def test_a_peer_is_found_by_its_port(running: Rig) -> None:
    assert at_url(f"http://127.0.0.1:{running.stub_port}").pid == running.stub_pid


def test_the_order_of_subjects_turns_from_round_to_round() -> None:
    names = ["a", "b", "c"]
    steps = rounds.plan(CASES[:1], [Subject(name, 1, None) for name in names], 6)
    orders: dict[int, list[str]] = {}
    for number, _, subject in steps:
        orders.setdefault(number, []).append(subject.name)
    assert all(sorted(order) == names for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 6


def test_a_refused_measurement_does_not_end_the_run(running: Rig) -> None:
    def refuse(bench: Bench, subject: Subject) -> Sample:
        raise Refused("not today")

    case = Case("never", "nothing", CASES[0].metrics, refuse)
    bench = Bench(running, Scale.quick(), [])
    outcomes = rounds.run(bench, list(rounds.plan([case], [direct(running)], 2)), lambda *_: None)
    assert [outcome.refused for outcome in outcomes] == ["not today"] * 2
    assert judge(outcomes)[0].verdicts[0].why == "refused: not today"


def test_no_round_is_begun_that_would_not_end_in_time(running: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(rounds.time, "monotonic", lambda: now[0])

    def slow(bench: Bench, subject: Subject) -> Sample:
        now[0] += 4.0
        return Sample({"cpu": 1.0})

    case = Case("slow", "four seconds", CASES[0].metrics, slow)
    steps = list(rounds.plan([case], [direct(running)], 5))
    bench = Bench(running, Scale.quick(), [])
    assert [o.round for o in rounds.run(bench, steps, lambda *_: None, within=13.0)] == [0, 1, 2]
    assert [o.round for o in rounds.run(bench, steps, lambda *_: None, within=0.0)] == [0]
