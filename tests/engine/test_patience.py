"""Time, under a virtual clock: waits that providers ask for, late first tokens, limits and deadlines."""

from __future__ import annotations

import itertools

import pytest
import trio

from fastanchor.core.channel import Timeouts
from fastanchor.core.route import Hedge, Route
from fastanchor.lab.client import MemoryReply
from fastanchor.lab.fault import Fault, retry_after, retry_after_date, retry_after_ms
from fastanchor.lab.judge import told
from fastanchor.lab.stage import Stage
from fastanchor.wire import errors as wire
from tests.kit.stage import channel, chat, pair, world

SILENT = Fault("silent", error=wire.ResponseTimeout, after=3600.0)
NO_HEDGE = Route(hedge=Hedge(after=None))


def gaps(stage: Stage, name: str = "main") -> list[float]:
    """Seconds between the requests that a channel has seen."""
    seen = stage.upstreams[name].seen
    return [later - earlier for earlier, later in itertools.pairwise(seen)]


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        (retry_after(b"2"), 2.0, 2.2),
        (retry_after(b"59"), 59.0, 60.0),
        (retry_after_date(5), 3.9, 5.6),  # dates have whole seconds
        (retry_after_ms(b"250"), 0.25, 0.28),
        (retry_after(b"0"), 0.0, 0.01),
    ],
)
async def test_a_429_is_waited_for_as_it_says(
    headers: object, least: float, most: float, autojump_clock: object
) -> None:
    stage = Stage(world(channel("main")), {"main": Fault("429", status=429, headers=headers, first=1)})  # type: ignore[arg-type]
    outcome = await stage.ask(chat())
    assert told(outcome.reply) == "whole"
    assert least <= gaps(stage)[0] <= most


async def test_a_429_for_hours_is_told_with_its_wait_at_once(autojump_clock: object) -> None:
    stage = Stage(world(channel("main")), {"main": Fault("429", status=429, headers=retry_after(b"7200"))})
    outcome = await stage.ask(chat())
    assert outcome.reply.status == 429
    assert outcome.reply.headers[b"retry-after"] == b"7200"
    assert outcome.seconds < 0.1


async def test_nobody_asks_a_key_again_within_its_wait(autojump_clock: object) -> None:
    stage = Stage(world(channel("main")), {"main": Fault("429", status=429, headers=retry_after(b"30"), first=1)})
    await stage.ask(chat(), x_fastanchor_timeout="10")
    for _ in range(5):
        assert (await stage.ask(chat())).reply.status == 429
    assert len(stage.upstreams["main"].seen) == 1
    await trio.sleep(30.0)
    assert told((await stage.ask(chat())).reply) == "whole"


async def test_retries_back_off_and_end_with_the_attempts(autojump_clock: object) -> None:
    stage = Stage(world(channel("main"), route=Route(attempts=4)), {"main": Fault("500", "fail500")})
    outcome = await stage.ask(chat())
    assert outcome.reply.status == 500
    assert [g <= 0.5 * 2**i for i, g in enumerate(gaps(stage))] == [True, True, True]


async def test_storms_of_retries_are_bounded(autojump_clock: object) -> None:
    stage = Stage(world(channel("main", max_concurrency=1000)), {"main": Fault("409", status=409)})
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(stage.ask, chat())
    assert len(stage.upstreams["main"].seen) <= 105


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_a_silent_channel_is_asked_once(stream: bool, autojump_clock: object) -> None:
    stage = Stage(world(channel("main")), {"main": SILENT})
    outcome = await stage.ask(chat(stream=stream))
    assert (outcome.reply.status, len(stage.upstreams["main"].seen)) == (502, 1)
    assert outcome.seconds == pytest.approx(30.0 if stream else 120.0)


async def test_slow_reasoning_is_not_killed_by_a_silent_fallback(autojump_clock: object) -> None:
    stage = Stage(world(*pair()), {"main": Fault("late", "ttft25000"), "spare": SILENT})
    outcome = await stage.ask(chat())
    assert told(outcome.reply) == "whole"
    assert outcome.receipt.channel == "main"


@pytest.mark.parametrize("fault", [SILENT, Fault("late", "ttft20000"), Fault("late head", "slowhead20000")])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_a_late_first_token_is_hedged_after_ten_seconds(
    fault: Fault, stream: bool, autojump_clock: object
) -> None:
    own = (await Stage(world(channel("main"))).ask(chat(stream=stream))).seconds
    stage = Stage(world(*pair()), {"main": fault})
    outcome = await stage.ask(chat(stream=stream))
    assert told(outcome.reply) == "whole"
    assert outcome.seconds == pytest.approx(10.0 + own, abs=0.3)  # the sweeper's period
    assert [len(one.seen) for one in stage.upstreams.values()] == [1, 1]
    lost = next(a for a in outcome.receipt.attempts if a.outcome == "lost")
    assert lost.usage is not None
    assert lost.usage.input
    assert stage.upstreams["main"].closed_at[0] == pytest.approx(stage.upstreams["spare"].seen[0] + 0.05, abs=0.01)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_a_first_that_fails_beside_its_hedge_leaves_the_hedge_alone(stream: bool, autojump_clock: object) -> None:
    reset = Fault("late reset", error=wire.ResetBeforeResponse, after=12.0)
    stage = Stage(world(*pair()), {"main": reset, "spare": Fault("late", "ttft5000")})
    outcome = await stage.ask(chat(stream=stream))
    assert told(outcome.reply) == "whole"
    assert outcome.attempts == ["main=reset", "spare=won"]
    assert stage.idle


async def test_a_hedge_that_fails_beside_the_first_leaves_the_first_alone(autojump_clock: object) -> None:
    faults = {"main": Fault("late", "ttft15000"), "spare": Fault("500", "fail500")}
    stage = Stage(world(*pair()), faults)
    outcome = await stage.ask(chat())
    assert told(outcome.reply) == "whole"
    assert (outcome.receipt.channel, outcome.receipt.first_token) == ("main", pytest.approx(15.0))
    assert stage.idle


async def test_both_fail_and_a_third_serves(autojump_clock: object) -> None:
    late = Fault("late reset", error=wire.ResetBeforeResponse, after=11.0)
    stage = Stage(world(*pair(), channel("third", 2)), {"main": late, "spare": late})
    outcome = await stage.ask(chat())
    assert told(outcome.reply) == "whole"
    assert outcome.attempts == ["main=reset", "spare=lost", "third=won"]
    assert stage.idle


async def test_a_race_takes_the_first_to_speak(autojump_clock: object) -> None:
    stage = Stage(world(*pair(), route=Route(race=2)), {"main": Fault("slow", "ttft1500")})
    outcome = await stage.ask(chat())
    assert (outcome.receipt.channel, outcome.receipt.first_token) == ("spare", pytest.approx(0.05))
    assert stage.upstreams["main"].closed_at == [pytest.approx(stage.upstreams["main"].seen[0] + 0.05)]


async def test_percentile_hedging_halves_the_tail_for_few_extra_requests(autojump_clock: object) -> None:
    async def tail(route: Route) -> tuple[float, int]:
        stage = Stage(world(*pair(max_concurrency=500), route=route), {"main": Fault("tail", "ttft3000, every20")})
        found = []
        for _ in range(600):
            outcome = await stage.ask(chat(stream=False))
            found.append(outcome.seconds)
        extra = sum(len(one.seen) for one in stage.upstreams.values()) - 600
        return sorted(found)[int(0.99 * 600)], extra

    before, none = await tail(NO_HEDGE)
    after, extra = await tail(Route(hedge=Hedge(after=None, percentile=0.95)))
    assert none == 0
    assert after < before / 2
    assert extra <= 0.06 * 600


# -- deadlines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_a_client_may_lower_the_deadline(stream: bool, autojump_clock: object) -> None:
    stage = Stage(world(*pair(), route=NO_HEDGE), {"main": SILENT, "spare": SILENT})
    outcome = await stage.ask(chat(stream=stream), x_fastanchor_timeout="1.5")
    assert (outcome.reply.status, outcome.seconds) == (504, pytest.approx(1.5))


async def test_a_client_cannot_raise_the_deadline(autojump_clock: object) -> None:
    stage = Stage(world(channel("main"), route=Route(deadline=3.0)), {"main": SILENT})
    assert (await stage.ask(chat(), x_fastanchor_timeout="60")).seconds == pytest.approx(3.0)


@pytest.mark.parametrize("value", ["-1", "soon", "", ".", "1e3", "9999999999"])
async def test_a_timeout_that_is_none_is_refused(value: str, autojump_clock: object) -> None:
    stage = Stage(world(channel("main")))
    assert (await stage.ask(chat(), x_fastanchor_timeout=value)).reply.status == 400


async def test_a_deadline_of_the_clients_is_not_the_channels_fault(autojump_clock: object) -> None:
    stage = Stage(world(channel("main")), {"main": Fault("slow", "ttft2000")})
    for _ in range(10):
        assert (await stage.ask(chat(), x_fastanchor_timeout="1")).reply.status == 504
    assert told((await stage.ask(chat())).reply) == "whole"


async def test_the_deadline_ends_a_stream_too(autojump_clock: object) -> None:
    stage = Stage(world(channel("main")), {"main": Fault("long", "n600")})
    outcome = await stage.ask(chat(), x_fastanchor_timeout="2")
    assert told(outcome.reply).startswith("broken off")
    assert outcome.receipt.ending == "deadline"
    assert outcome.seconds == pytest.approx(2.0, abs=0.1)


async def test_the_deadline_cuts_a_stalled_stream_short(autojump_clock: object) -> None:
    stage = Stage(world(*pair()), {"main": Fault("stall", "stall20")})
    outcome = await stage.ask(chat(), x_fastanchor_timeout="3")
    assert (outcome.receipt.ending, outcome.seconds) == ("deadline", pytest.approx(3.0, abs=0.1))


async def test_the_total_of_a_channel_ends_its_answer(autojump_clock: object) -> None:
    limits = Timeouts(total=1.0)
    stage = Stage(world(channel("main", timeouts=limits)), {"main": Fault("long", "n600")})
    outcome = await stage.ask(chat())
    assert outcome.receipt.ending == "deadline"
    assert outcome.seconds == pytest.approx(1.0, abs=0.1)


# -- silence of the upstream ------------------------------------------------------------------------------------------


def alive(reply: MemoryReply) -> list[float]:
    """When keep-alive bytes came."""
    return [at for at, data in reply.pieces if data == b": keep-alive\n\n"]


async def test_a_silent_stream_is_kept_alive(autojump_clock: object) -> None:
    patient = Timeouts(idle=100.0)
    stage = Stage(world(channel("main", timeouts=patient), keep_alive=15.0), {"main": Fault("stall", "stall20")})
    outcome = await stage.ask(chat())
    assert told(outcome.reply).startswith("broken off")
    assert [round(b - a) for a, b in zip(alive(outcome.reply), alive(outcome.reply)[1:], strict=False)] == [15] * 5
    assert outcome.receipt.ending == "stalled"
    assert outcome.seconds == pytest.approx(100.5, abs=0.5)


async def test_a_rescue_that_takes_long_is_kept_alive(autojump_clock: object) -> None:
    faults = {"main": Fault("cut", "cut20"), "spare": Fault("late", "ttft25000")}
    stage = Stage(world(*pair(), keep_alive=10.0), faults)
    outcome = await stage.ask(chat())
    assert told(outcome.reply) == "whole"
    assert len(alive(outcome.reply)) == 2


async def test_an_answer_that_is_held_back_is_kept_alive(autojump_clock: object) -> None:
    stage = Stage(world(*pair(), route=Route(rescue="restart"), keep_alive=2.0), {"main": Fault("long", "n500")})
    outcome = await stage.ask(chat())
    assert told(outcome.reply) == "whole"
    assert 3 <= len(alive(outcome.reply)) <= 6
    contents = [at for at, data in outcome.reply.pieces if b'"content"' in data]
    assert contents
    assert max(contents) == min(contents) > max(alive(outcome.reply))


async def test_without_keep_alive_nothing_is_added(autojump_clock: object) -> None:
    stage = Stage(world(channel("main"), keep_alive=0.0), {"main": Fault("stall", "stall20")})
    assert alive((await stage.ask(chat())).reply) == []
