"""Counters outlive the workers that counted."""

from __future__ import annotations

from typing import Any

from fastanchor.control.memory import Memory
from fastanchor.control.metrics import render
from fastanchor.store import shm

STANDING = {"trouble": 0, "behind": 0, "records": 0, "damaged": 0, "lost": 0, **dict.fromkeys(shm.NOTED, 0)}


def state(epoch: str, requests: int) -> dict[str, Any]:
    meters = {
        "requests": [["chat", "m", "p", "200", requests]], "attempts": [], "tokens": [], "cost": [],
        "duration": [["chat", [0.1, 1], [requests, 0, 0], 0.5 * requests]], "first_token": [], "overhead": [],
        "in_flight": 1,
    }  # fmt: skip
    journal = {"failed": 0, "failures": 0, "kept": 0, "dropped": 0}
    channel = {
        "channel": "main", "breaker": "open" if epoch == "a" else "closed", "in_flight": requests, "limit": 100,
        "first_token": requests / 10, "keys_parked": {"0": 1.5} if epoch == "a" else {},
    }  # fmt: skip
    return {
        "slot": 0, "epoch": epoch, "meters": meters, "journal": journal, "limit_hits": {}, "body_bytes": 0,
        "channels": [channel],
    }  # fmt: skip


def line(page: bytes, name: str) -> float:
    return float(next(row.split()[-1] for row in page.decode().splitlines() if row.startswith(name)))


def test_no_counter_goes_back_when_workers_come_and_go() -> None:
    living = {"a", "b"}
    memory = Memory(living.__contains__)

    def scrape(*states: dict[str, Any]) -> tuple[float, float, float]:
        page = render(list(states), STANDING, memory.take(states))
        names = ("fastanchor_requests_total", "fastanchor_request_duration_seconds_count", "fastanchor_in_flight")
        requests, count, in_flight = (line(page, name) for name in names)
        return requests, count, in_flight

    assert scrape(state("a", 5), state("b", 7)) == (12, 12, 2)
    assert scrape(state("b", 8)) == (13, 13, 1)  # one did not answer in time
    living.remove("a")
    assert scrape(state("b", 8)) == (13, 13, 1)
    living.add("c")
    assert scrape(state("b", 9), state("c", 1)) == (15, 15, 2)
    living.remove("b")
    assert scrape(state("c", 2)) == (16, 16, 1)
    assert scrape(state("c", 2)) == (16, 16, 1)


def test_channels_are_told_over_all_workers() -> None:
    states = [state("a", 5), state("b", 7)]
    page = render(states, STANDING, Memory(lambda epoch: True).take(states))
    names = ("in_flight", "limit", "first_token_seconds", "resting", "keys_parked")
    found = [line(page, f'fastanchor_channel_{name}{{channel="main"}}') for name in names]
    assert found == [12, 200, 0.7, 1, 1]
