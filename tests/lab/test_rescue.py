"""A stream that breaks goes on in every client's language, from a channel of any other: the whole text, once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson
import pytest

from fastanchor.core.channel import Channel
from fastanchor.core.events import End, Event, Failed, Finish, Text
from fastanchor.core.route import Route
from fastanchor.dialects.registry import dialect
from fastanchor.lab.fault import Fault
from fastanchor.lab.stage import Outcome, Stage
from tests.kit.stage import channel, world

PROMPT = "What is an anchor?"
ASK = {"messages": [{"role": "user", "content": PROMPT}]}


@dataclass(frozen=True)
class Client:
    """One language: where it asks, and what."""

    dialect: str
    path: bytes
    body: dict[str, object]


CLIENTS = [
    Client("openai_chat", b"/v1/chat/completions", {**ASK, "model": "m", "stream": True}),
    Client("anthropic", b"/v1/messages", {**ASK, "model": "m", "stream": True, "max_tokens": 500}),
    Client("openai_responses", b"/v1/responses", {"model": "m", "input": PROMPT, "stream": True}),
    Client("gemini", b"/v1beta/models/m:streamGenerateContent?alt=sse", {"contents": [{"parts": [{"text": PROMPT}]}]}),
]
UPSTREAMS = {
    "openai": lambda name, tier: channel(name, tier),
    "anthropic": lambda name, tier: channel(name, tier, provider="anthropic"),
    "gemini": lambda name, tier: channel(name, tier, provider="gemini", base_url=f"https://{name}.test/v1beta"),
    "demo": lambda name, tier: channel(name, tier, provider="demo"),
}
BREAKS = ["cut1", "cut40", "end30", "errorinband10", "stall20"]


def events(client: Client, outcome: Outcome) -> list[Event]:
    decoder = dialect(client.dialect).decoder()
    return [*decoder.feed(outcome.reply.body), *decoder.end()]


def text(found: Iterable[Event]) -> str:
    return "".join(event.text for event in found if isinstance(event, Text))


async def asked(client: Client, channels: list[Channel], words: str, route: Route | None = None) -> Outcome:
    faults = {"main": Fault(words, words)} if words else {}
    return await Stage(world(*channels, route=route), faults).ask(client.body, client.path)


GOOD: dict[tuple[str, str], str] = {}
"""The text of an answer without a break, by the languages of its client and its upstream: asked for once."""


async def unbroken(client: Client, upstream: str) -> str:
    key = (client.dialect, upstream)
    if key not in GOOD:
        GOOD[key] = text(events(client, await asked(client, [UPSTREAMS[upstream]("main", 0)], "")))
    return GOOD[key]


@pytest.mark.parametrize("words", BREAKS)
@pytest.mark.parametrize("other", UPSTREAMS)
@pytest.mark.parametrize("first", UPSTREAMS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.dialect)
async def test_the_text_comes_whole_and_once(
    client: Client, first: str, other: str, words: str, autojump_clock: object
) -> None:
    channels = [UPSTREAMS[first]("main", 0), UPSTREAMS[other]("spare", 1)]
    good = await unbroken(client, first)
    outcome = await asked(client, channels, words)
    found = events(client, outcome)
    assert len(good.split()) == 60
    assert outcome.reply.ended == "whole"
    assert text(found) == good
    assert sum(isinstance(event, Finish) for event in found) == 1
    assert isinstance(found[-1], End)
    assert outcome.receipt.usage.output == 60
    assert outcome.receipt.channel == "spare"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.dialect)
async def test_other_words_end_in_one_clean_error(client: Client, autojump_clock: object) -> None:
    stage = Stage(
        world(channel("main", provider="demo"), channel("spare", 1, provider="demo")),
        {"main": Fault("cut", "cut20"), "spare": Fault("other", "variant2")},
    )
    outcome = await stage.ask(client.body, client.path)
    found = events(client, outcome)
    assert outcome.reply.ended == "cut"
    assert isinstance(found[-1], Failed)
    assert sum(isinstance(event, Failed) for event in found) == 1
    assert len(text(found).split()) == 20
    assert [a.outcome for a in outcome.receipt.attempts] == ["truncated", "diverged", "truncated"]
    assert outcome.receipt.ending == "truncated"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.dialect)
@pytest.mark.parametrize("words", BREAKS)
async def test_a_restart_gives_the_other_answer_alone(client: Client, words: str, autojump_clock: object) -> None:
    channels = [channel("main", provider="demo"), channel("spare", 1, provider="demo")]
    stage = Stage(
        world(*channels, route=Route(rescue="restart"), keep_alive=1.0),
        {"main": Fault(words, words), "spare": Fault("other", "variant2")},
    )
    alone = Stage(world(channels[1]), {"spare": Fault("other", "variant2")})
    good = text(events(client, await alone.ask(client.body, client.path)))
    outcome = await stage.ask(client.body, client.path)
    assert outcome.reply.ended == "whole"
    assert text(events(client, outcome)) == good


async def test_two_breaks_in_a_row_are_rescued_too(autojump_clock: object) -> None:
    stage = Stage(
        world(channel("main"), channel("spare", 1), channel("third", 2)),
        {"main": Fault("cut", "cut20"), "spare": Fault("cut", "cut40")},
    )
    client = CLIENTS[0]
    outcome = await stage.ask(client.body, client.path)
    assert outcome.reply.ended == "whole"
    assert len(text(events(client, outcome)).split()) == 60
    assert [a.outcome for a in outcome.receipt.attempts] == ["truncated", "truncated", "won"]
    assert [a.why for a in outcome.receipt.attempts] == ["first", "rescue", "rescue"]


TOOL = {"name": "look", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}


@pytest.mark.parametrize("k", range(1, 4))
async def test_a_tool_call_half_sent_is_never_continued(k: int, autojump_clock: object) -> None:
    body = {**CLIENTS[0].body, "tools": [{"type": "function", "function": TOOL}], "tool_choice": "required"}
    stage = Stage(world(channel("main"), channel("spare", 1)), {"main": Fault("cut", f"cut{k}")})
    outcome = await stage.ask(body)
    if outcome.reply.ended == "whole":  # the call had come to its end, or had not begun
        names = orjson.dumps(outcome.reply.body.decode()).count(b'look')
        assert names == 1
    else:
        assert len(stage.upstreams["spare"].seen) == 0


async def test_the_answer_is_billed_once_and_the_broken_part_is_on_record(autojump_clock: object) -> None:
    stage = Stage(world(channel("main"), channel("spare", 1)), {"main": Fault("cut", "cut40")})
    receipt = (await stage.ask(CLIENTS[0].body)).receipt
    assert (receipt.channel, receipt.usage.output) == ("spare", 60)
    broken = receipt.attempts[0]
    assert broken.usage is not None
    assert broken.usage.estimated
    assert 30 < (broken.usage.output or 0) < 90  # an estimate of the 40 tokens


@pytest.mark.parametrize(("asked", "ended"), [("restart", "whole"), ("splice", "cut"), ("off", "cut")])
async def test_a_client_chooses_what_becomes_of_its_stream(asked: str, ended: str, autojump_clock: object) -> None:
    stage = Stage(
        world(channel("main"), channel("spare", 1)),
        {"main": Fault("cut", "cut20"), "spare": Fault("other", "variant2")},
    )
    outcome = await stage.ask(CLIENTS[0].body, x_fastanchor_rescue=asked)
    assert outcome.reply.ended == ended
    assert (len(stage.upstreams["spare"].seen) > 0) == (asked != "off")


async def test_a_choice_that_there_is_not_is_refused(autojump_clock: object) -> None:
    stage = Stage(world(channel("main")))
    assert (await stage.ask(CLIENTS[0].body, x_fastanchor_rescue="maybe")).reply.status == 400
    assert not stage.upstreams["main"].seen
