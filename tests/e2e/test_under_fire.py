"""Killed at random moments under load: whatever dies, the books hold each request once, and nothing leaks."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from fastanchor.store.entries import BY_RULE, OPEN, SETTLED
from fastanchor.store.ledger import Ledger
from tests.kit.binary import fastanchor
from tests.kit.fire import Books, Load, books, children, config, hold_together, kill, serves, until, witness

Provider = tuple[int, Path]


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    with witness(tmp_path) as found:
        yield found


def told(load: Load, seen: Path, found: Books) -> None:
    """The figures of a run."""
    by_provider = set(seen.read_text().split())
    states = Counter(found.states[model][0] for model in by_provider & found.rows.keys())
    print(f"{load.asked} asked, {len(load.answered)} answered, broken: {dict(load.broken)}")
    print(
        f"{len(by_provider)} seen by the provider: {states[SETTLED]} settled, {states[BY_RULE]} by rule, "
        f"{states[OPEN]} open, {len(by_provider - found.rows.keys())} missing, "
        f"{sum(times > 1 for times in found.rows.values())} doubled; {found.held} places held, "
        f"{found.audit.damaged} records damaged, {found.audit.torn} bytes torn, {len(found.audit.problems)} problems"
    )


@pytest.mark.parametrize(
    ("victim", "times"),
    [
        ("fa worker", 12),
        ("fa control", 4),
        pytest.param("fa worker", 850, marks=pytest.mark.slow),
        pytest.param("fa control", 100, marks=pytest.mark.slow),
    ],
)
def test_a_killed_process_loses_no_request(tmp_path: Path, provider: Provider, victim: str, times: int) -> None:
    port, seen = provider
    random = Random(times)
    with fastanchor(tmp_path, config(port, workers=2)) as binary:
        load = Load(binary.port, slow_share=0.02)
        with load.running():
            for _ in range(times):
                time.sleep(random.uniform(0.0, 0.8))
                until(lambda: children(binary, victim), f"no {victim} came back")
                kill(random.choice(children(binary, victim)))
            until(lambda: serves(binary), "the instance did not recover")
    assert binary.process.returncode == 0, binary.log
    found = books(tmp_path / "state")
    told(load, seen, found)
    hold_together(found, seen, load)


@pytest.mark.parametrize("times", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_a_killed_supervisor_loses_no_request(tmp_path: Path, provider: Provider, times: int) -> None:
    port, seen = provider
    random = Random(times)
    text = config(port, workers=2, drain=0.5)
    load = Load(0, slow_share=0.02)
    with fastanchor(tmp_path, text) as binary:
        load.port = binary.port
        with load.running():
            for _ in range(times):
                time.sleep(random.uniform(0.0, 1.0))
                binary.process.kill()
                binary.process.wait()
                with fastanchor(tmp_path, text) as binary:  # waits for the orphans to leave, on another port
                    load.port = binary.port
                    time.sleep(random.uniform(0.5, 1.0))
                    binary.process.kill()
            load.stop.set()
    with fastanchor(tmp_path, text):  # comes up after the last kill, and goes in peace
        pass
    found = books(tmp_path / "state")
    told(load, seen, found)
    hold_together(found, seen, load)


def test_what_a_killed_worker_left_open_is_settled_soon(tmp_path: Path, provider: Provider) -> None:
    port, seen = provider
    with fastanchor(tmp_path, config(port, workers=1)) as binary:
        load = Load(binary.port, slow_share=1.0)
        with load.running():
            until(lambda: len(seen.read_text().split()) >= 4, "no request arrived")
            load.stop.set()
            killed = time.monotonic()
            kill(children(binary, "fa worker")[0])
        cut = len(seen.read_text().split()) - len(load.answered)
        until(lambda: len(_by_rule(tmp_path / "state")) >= cut, "open requests were not settled")
        print(f"settled {time.monotonic() - killed:.2f} s after the kill")
    hold_together(books(tmp_path / "state"), seen, load)


def _by_rule(state_dir: Path) -> list[str]:
    ledger = Ledger(state_dir / "ledger.db", state_dir / "journal")
    try:
        with ledger.database.reading() as db:
            rows = db.execute("SELECT id FROM request WHERE state = ?", (BY_RULE,)).fetchall()
            return [str(id) for (id,) in rows]
    finally:
        ledger.close()


@pytest.mark.parametrize("least", [0, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_request_fails_while_workers_are_replaced_and_reloaded(
    tmp_path: Path, provider: Provider, least: int
) -> None:
    """Ten reloads and three rounds of replacements, under load all the time, spread over `least` requests."""
    port, seen = provider
    text = config(port, workers=2, drain=60.0)
    with fastanchor(tmp_path, text) as binary:
        load = Load(binary.port, slow_share=0.02, asks_again=True)
        with load.running():
            for i in range(10):
                fresh = tmp_path / "fresh.toml"  # renamed into place: a file half written is another configuration
                fresh.write_text(f"{text}\n# {i}\n")
                fresh.rename(tmp_path / "fastanchor.toml")
                binary.signal(signal.SIGHUP)
                time.sleep(0.2)
                until(lambda i=i: load.asked >= least * (i + 1) / 10, "the load has stopped", 120)
                if i % 4 == 0:
                    before = binary.log.count("all workers have been replaced")
                    binary.signal(signal.SIGUSR1)
                    until(lambda b=before: binary.log.count("all workers have been replaced") > b, binary.log)
        log = binary.log
    found = books(tmp_path / "state")
    told(load, seen, found)
    assert not load.broken, log
    assert load.asked == len(load.answered)
    assert " ended with " not in log
    hold_together(found, seen, load)


def test_open_streams_and_new_requests_survive_a_drain_up_to_its_deadline(tmp_path: Path, provider: Provider) -> None:
    port, seen = provider
    with fastanchor(tmp_path, config(port, workers=2, drain=30.0)) as binary:
        load = Load(binary.port, slow_share=1.0)
        with load.running():
            until(lambda: len(seen.read_text().split()) >= 4, "no request arrived")
            load.stop.set()
            binary.signal(signal.SIGTERM)
        assert binary.process.wait(60) == 0
    assert not load.broken
    hold_together(books(tmp_path / "state"), seen, load)


def test_a_second_signal_cuts_what_is_open_and_accounts_for_it(tmp_path: Path, provider: Provider) -> None:
    port, seen = provider
    with fastanchor(tmp_path, config(port, workers=1, drain=600.0)) as binary:
        load = Load(binary.port, slow_share=1.0)
        with load.running():
            until(lambda: len(seen.read_text().split()) >= 4, "no request arrived")
            load.stop.set()
            binary.signal(signal.SIGTERM)
            time.sleep(0.1)
            binary.signal(signal.SIGTERM)
            assert binary.process.wait(60) == 0  # well before its drain is over
    found = books(tmp_path / "state")
    hold_together(found, seen, load)
    assert BY_RULE not in {state for state, _ in found.states.values()}


def test_a_stopped_worker_that_wakes_again_settles_nothing_twice(tmp_path: Path, provider: Provider) -> None:
    port, seen = provider
    with fastanchor(tmp_path, config(port, workers=2)) as binary:
        load = Load(binary.port, slow_share=0.1)
        with load.running():
            time.sleep(0.5)
            victim = children(binary, "fa worker")[0]
            os.kill(victim, signal.SIGSTOP)
            time.sleep(1.5)
            os.kill(victim, signal.SIGCONT)
            time.sleep(0.5)
    assert not load.broken
    hold_together(books(tmp_path / "state"), seen, load)
