"""Routes match in order, channels come by tier, and the answer does not depend on what was asked before."""

from __future__ import annotations

from fastanchor.core.channel import Channel
from fastanchor.core.principal import Plan, Principal
from fastanchor.core.route import Route
from fastanchor.core.snapshot import Snapshot

SPARE = Channel("spare", "openai", "http://b", models={"gpt-*": "gpt-*"}, tier=1)
MAIN = Channel("main", "openai", "http://a", models={"gpt-4o": "gpt-4o"})


def test_first_matching_route_wins() -> None:
    world = Snapshot(routes=(Route("gpt-4*", attempts=1), Route("gpt-*", attempts=2)))
    assert world.route("gpt-4o").attempts == 1
    assert world.route("gpt-5").attempts == 2
    assert world.route("claude").model == "*"


def test_channels_come_by_tier() -> None:
    world = Snapshot(channels=(SPARE, MAIN))
    assert [c.name for c in world.channels_for("gpt-4o", Route())] == ["main", "spare"]
    assert [c.name for c in world.channels_for("gpt-5", Route())] == ["spare"]
    assert world.channels_for("claude", Route()) == ()


def test_a_route_may_name_its_channels() -> None:
    world = Snapshot(channels=(SPARE, MAIN))
    assert [c.name for c in world.channels_for("gpt-4o", Route())] == ["main", "spare"]
    assert [c.name for c in world.channels_for("gpt-4o", Route(channels=("spare",)))] == ["spare"]


def test_models_leave_globs_out() -> None:
    assert Snapshot(channels=(SPARE, MAIN)).models() == ["gpt-4o"]


def test_a_key_may_use_what_both_it_and_its_plan_allow() -> None:
    plan = Plan("p", models=("gpt-*",))
    principal = Principal("k", "k", "o", models=("gpt-4o", "claude"), plan=plan)
    assert principal.allows_model("gpt-4o")
    assert not principal.allows_model("claude")
    assert not principal.allows_model("gpt-5")
