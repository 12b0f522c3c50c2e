"""A broken stream whose words no other answer repeats goes on in a model that continues a begun answer."""

from __future__ import annotations

import orjson
import pytest

from fastanchor.core.channel import Channel
from fastanchor.core.route import Route
from fastanchor.lab.fault import Fault
from fastanchor.lab.stage import Outcome, Stage
from tests.kit.stage import channel, world
from tests.lab.test_rescue import CLIENTS, PROMPT, Client, events, text

CUT = Fault("cut", "cut20")
OTHER = Fault("other", "variant2")
ABLE, UNABLE = "claude-sonnet-4-5", "claude-sonnet-4-6"


def claude(name: str, tier: int = 0, model: str = ABLE, **changes: object) -> Channel:
    return channel(name, tier, provider="anthropic", any_model=False, models={"m": model}, **changes)


def pair(**changes: object) -> tuple[Channel, Channel]:
    return claude("main", **changes), claude("spare", 1, **changes)


async def said(client: Client, fault: Fault) -> list[str]:
    """The words of a whole answer."""
    outcome = await Stage(world(claude("main")), {"main": fault}).ask(client.body, client.path)
    return text(events(client, outcome)).split(" ")


async def asked(
    client: Client, *channels: Channel, fault: Fault = CUT, other: Fault = OTHER, **more: object
) -> Outcome:
    stage = Stage(world(*channels, route=Route(attempts=4)), {"main": fault, "spare": other})
    return await stage.ask({**client.body, **more}, client.path)


@pytest.mark.parametrize("k", [1, 20, 59])
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.dialect)
async def test_the_rest_is_appended_once(client: Client, k: int, autojump_clock: object) -> None:
    begun, rest = (await said(client, Fault("none")))[:k], (await said(client, OTHER))[k:]
    outcome = await asked(client, *pair(), fault=Fault("cut", f"cut{k}"))
    assert outcome.reply.ended == "whole"
    assert text(events(client, outcome)).split(" ") == begun + rest
    assert [a.why for a in outcome.receipt.attempts] == ["first", "rescue", "continue"]
    assert [a.outcome for a in outcome.receipt.attempts] == ["truncated", "diverged", "won"]
    assert (outcome.receipt.channel, outcome.receipt.usage.output) == ("spare", 60 - k)


async def test_it_is_not_needed_where_the_words_come_again(autojump_clock: object) -> None:
    outcome = await asked(CLIENTS[1], *pair(), other=Fault("none"))
    assert [a.why for a in outcome.receipt.attempts] == ["first", "rescue"]
    assert outcome.receipt.usage.output == 60


@pytest.mark.parametrize(
    "channels",
    [pair(model=UNABLE), pair(options={"quirks": "no_prefill"}), (channel("main"), channel("spare", 1))],
    ids=["later model", "operator", "other vendor"],
)
async def test_models_that_are_not_known_to_are_not_asked_to(
    channels: tuple[Channel, ...], autojump_clock: object
) -> None:
    outcome = await asked(CLIENTS[0], *channels)
    assert outcome.reply.ended == "cut"
    assert [a.why for a in outcome.receipt.attempts][:2] == ["first", "rescue"]
    assert "continue" not in [a.why for a in outcome.receipt.attempts]


async def test_the_operator_may_know_better(autojump_clock: object) -> None:
    able = pair(model=UNABLE, options={"quirks": "prefill", "strict": "0"})
    stage = Stage(world(*able, route=Route(attempts=4)), {"main": CUT, "spare": OTHER})
    await stage.ask(CLIENTS[1].body, CLIENTS[1].path)
    assert [turn["role"] for turn in orjson.loads(stage.upstreams["spare"].bodies[1])["messages"]][-1] == "assistant"


async def test_another_vendors_beginning_is_gone_on_from(autojump_clock: object) -> None:
    outcome = await asked(CLIENTS[0], channel("main"), claude("spare", 1))
    assert outcome.reply.ended == "whole"
    assert len(text(events(CLIENTS[0], outcome)).split()) == 60


@pytest.mark.parametrize("client", CLIENTS[:2], ids=lambda client: client.dialect)
async def test_what_is_asked_is_the_same_with_a_beginning_and_less_to_say(
    client: Client, autojump_clock: object
) -> None:
    stage = Stage(world(*pair(), route=Route(attempts=4)), {"main": CUT, "spare": OTHER})
    await stage.ask({**client.body, "max_tokens": 400}, client.path)
    first, second = map(orjson.loads, stage.upstreams["spare"].bodies)
    beginning = second["messages"].pop()
    assert beginning["role"] == "assistant"
    assert 300 < second.pop("max_tokens") < first.pop("max_tokens") == 400
    assert second == first


TOOL = {"name": "look", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    "more",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000},
        {"messages": [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": "It is"}]},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
    ],
    ids=["thinking", "begun by the client", "form", "tool"],
)
async def test_what_would_mean_something_else_is_not_continued(
    more: dict[str, object], autojump_clock: object
) -> None:
    outcome = await asked(CLIENTS[1], *pair(), fault=Fault("cut", "cut1"), **more)
    assert "continue" not in [a.why for a in outcome.receipt.attempts]


async def test_a_continuation_that_breaks_is_continued(autojump_clock: object) -> None:
    stage = Stage(
        world(*pair(), claude("third", 2), route=Route(attempts=5)),
        {"main": CUT, "spare": OTHER, "third": Fault("cut", "variant2, cut15")},
    )
    outcome = await stage.ask(CLIENTS[1].body, CLIENTS[1].path)
    assert outcome.reply.ended == "whole"
    assert len(text(events(CLIENTS[1], outcome)).split()) == 60
