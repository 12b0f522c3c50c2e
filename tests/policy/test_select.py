"""Selection: weights, expected time, price, stickiness, affinity and outliers."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from fastanchor.core.channel import Channel
from fastanchor.core.route import Selection
from fastanchor.policy.health import Health
from fastanchor.policy.select import choose, conversation_key, rendezvous, shares
from tests.policy.channels import channel

A, B, C = channel("a"), channel("b"), channel("c")


def measured(health: Health, one: Channel, seconds: float, times: int = 30) -> None:
    for _ in range(times):
        health.of(one).latency.observe(seconds, 0.0)


def counts(channels: list[Channel], health: Health, how: Selection = "weight", **more: object) -> Counter[str]:
    random = Random(1)
    return Counter(
        choose(channels, health, how, now=0.0, random=random, **more).name  # type: ignore[arg-type]
        for _ in range(2000)
    )


def test_equal_channels_share_evenly() -> None:
    found = counts([A, B], Health())
    assert 900 < found["a"] < 1100


def test_weights_are_followed_roughly() -> None:
    found = counts([channel("a", weight=9), channel("b")], Health())
    assert found["a"] > 1600
    assert found["b"] > 20


def test_the_busier_of_two_gets_less() -> None:
    health = Health()
    health.of(A).concurrency.in_flight = 20
    assert counts([A, B], health)["b"] > 1400


def test_latency_takes_the_fastest_and_tries_the_unknown() -> None:
    health = Health()
    measured(health, A, 0.4)
    measured(health, B, 0.2)
    assert counts([A, B], health, "latency") == {"b": 2000}
    assert counts([A, B, C], health, "latency") == {"c": 2000}


def test_cost_takes_the_cheapest_and_the_fastest_among_equals() -> None:
    health = Health()
    measured(health, A, 0.4)
    assert counts([A, B, C], health, "cost", prices={"a": 1, "b": 2, "c": 3}) == {"a": 2000}
    assert counts([A, B], health, "cost", prices={"a": 1, "b": 1}) == {"b": 2000}


@pytest.mark.parametrize("how", ["weight", "latency", "cost", "sticky"])
def test_a_conversation_stays_on_one_channel(how: Selection) -> None:
    found = counts([A, B, C], Health(), how, affinity="talk", prices={"a": 1, "b": 1, "c": 1})
    assert len(found) == 1


def test_conversations_spread_over_the_channels() -> None:
    random = Random(1)
    found = Counter(
        choose([A, B, C], Health(), "weight", now=0.0, random=random, affinity=f"talk{i}").name for i in range(600)
    )
    assert min(found.values()) > 120


def test_a_channel_that_goes_moves_only_its_own_conversations() -> None:
    def home(channels: list[Channel], i: int) -> str:
        return choose(channels, Health(), "sticky", now=0.0, random=Random(1), affinity=f"talk{i}").name

    before = {i: home([A, B, C], i) for i in range(200)}
    after = {i: home([A, B], i) for i in range(200)}
    assert all(after[i] == name for i, name in before.items() if name != "c")


def test_affinity_gives_way_to_a_long_queue_and_stickiness_does_not() -> None:
    health = Health()
    home = choose([A, B], health, "sticky", now=0.0, random=Random(1), affinity="talk")
    away = B if home is A else A
    measured(health, home, 1.0)
    measured(health, away, 1.0)
    health.of(home).concurrency.in_flight = 30
    assert counts([A, B], health, affinity="talk")[away.name] > 1000
    assert counts([A, B], health, "sticky", affinity="talk") == {home.name: 2000}


def test_a_long_prompt_makes_a_cold_cache_dearer() -> None:
    health = Health()
    home = choose([A, B], health, "sticky", now=0.0, random=Random(1), affinity="talk")
    for one in (A, B):
        measured(health, one, 1.0)
    health.of(home).concurrency.in_flight = 2
    assert counts([A, B], health, affinity="talk", prompt_tokens=100_000) == {home.name: 2000}
    assert counts([A, B], health, affinity="talk", prompt_tokens=100)[home.name] < 1000


def test_a_much_slower_channel_keeps_a_tenth_of_its_weight() -> None:
    health = Health()
    measured(health, A, 0.2)
    measured(health, B, 3.0)
    assert shares([A, B], health, 0.0) == {"a": 1.0, "b": pytest.approx(0.1)}
    measured(health, B, 0.25, times=300)
    assert shares([A, B], health, 0.0) == {"a": 1.0, "b": 1.0}


def test_scores_are_finite_for_any_name() -> None:
    assert all(0 < rendezvous(conversation_key(f"talk{i}"), "a", 1.0) < float("inf") for i in range(1000))
