"""Every fault of the catalogue, streamed and plain, with and without another channel, under default settings."""

from __future__ import annotations

import pytest

from fastanchor.core.route import Hedge, Route
from fastanchor.core.snapshot import Snapshot
from fastanchor.lab.catalogue import CATALOGUE, Case, Promise
from fastanchor.lab.judge import Setting, complaints, text_of, told
from fastanchor.lab.stage import Stage
from fastanchor.lab.trial import trial
from tests.kit.stage import channel, chat, pair, world

IDS = [case.fault.name for case in CATALOGUE]
TRANSLATED = world(channel("main"), channel("spare", 1, provider="anthropic", base_url="https://spare.test/v1"))
BACKWARDS = world(channel("main", provider="gemini", base_url="https://main.test/v1beta"), channel("spare", 1))
SMALLER = channel("main", any_model=False, models={"gpt-4o": "gpt-4o"})
LARGER = channel("claude", provider="anthropic", any_model=False, models={"claude-opus-4-6": "claude-opus-4-6"})


async def tried(case: Case, there: Snapshot, *, stream: bool) -> tuple[str, list[str]]:
    good = await Stage(there).ask(chat(stream=stream))
    setting = Setting(
        there.route("m"), len(there.channels) - 1, stream, good.seconds, text_of(good.reply.body, stream=stream)
    )
    stage = Stage(there, {"main": case.fault})
    outcome = await stage.ask(chat(stream=stream))
    assert stage.idle
    assert len(setting.text.split()) == 60
    return told(outcome.reply), complaints(case, setting, outcome)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("case", CATALOGUE, ids=IDS)
async def test_with_a_healthy_second_channel(case: Case, stream: bool, autojump_clock: object) -> None:
    found, wrong = await tried(case, world(*pair()), stream=stream)
    assert not wrong
    if case.promise not in (Promise.TOLD, Promise.MODEL):
        assert found == "whole"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("case", CATALOGUE, ids=IDS)
async def test_with_one_channel_alone(case: Case, stream: bool, autojump_clock: object) -> None:
    _, wrong = await tried(case, world(channel("main")), stream=stream)
    assert not wrong


@pytest.mark.parametrize(
    "there",
    [
        TRANSLATED,
        BACKWARDS,
        world(SMALLER, LARGER, route=Route(fallback_models=("claude-opus-4-6",))),
        world(*pair(), route=Route(race=2)),
        world(*pair(), route=Route(hedge=Hedge(after=1.0))),
        world(*pair(), route=Route(rescue="restart")),
        world(*pair(), route=Route(rescue="off", hedge=Hedge(after=None))),
        world(*pair(), route=Route(attempts=1)),
        world(*pair(), channel("third", 2), route=Route(hedge=Hedge(after=None, percentile=0.95))),
    ],
    ids=["translated", "backwards", "another model", "race", "hedge", "restart", "off", "one attempt", "three"],
)
def test_other_settings_keep_the_promises_too(there: Snapshot) -> None:
    rows = list(trial(there))
    assert len(rows) > 2 * len(CATALOGUE)
    assert not [(row.fault, row.channel, row.mode, row.outcome, row.wrong) for row in rows if row.wrong]
