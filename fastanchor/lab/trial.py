"""A configuration on trial: each fault of the catalogue at each channel, streamed and plain, and an outage.

The channel that has the fault is asked first, whatever its tier; the others are well and keep their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import trio

from fastanchor.core.channel import Channel
from fastanchor.core.snapshot import Snapshot
from fastanchor.lab.catalogue import CATALOGUE, Case
from fastanchor.lab.fault import Fault
from fastanchor.lab.judge import Setting, complaints, text_of, told
from fastanchor.lab.stage import Outcome, Stage, play
from fastanchor.wire import errors as wire

UNPLAYED = ("bedrock",)  # its streams are framed in a way that the demo provider does not speak
SAMPLE = "lab"
OUTAGE = 60.0
BACK_WITHIN = 30.0
EVERY = 0.5
MOST_PROBES = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report. `wrong` are the promises that were broken."""

    fault: str
    channel: str
    mode: str
    outcome: str
    attempts: str
    seconds: float
    wrong: tuple[str, ...]


def models(channel: Channel) -> str:
    """A model that the channel serves."""
    exact = next((name for name in channel.models if "*" not in name), None)
    return exact or next((name.replace("*", SAMPLE) for name in channel.models), SAMPLE)


def others(world: Snapshot, channel: Channel, model: str) -> int:
    """How many other channels could serve the model or one of its fallbacks."""
    route = world.route(model)
    names = {c.name for name in (model, *route.fallback_models) for c in world.channels_for(name, route)}
    return len(names - {channel.name})


def first(world: Snapshot, channel: Channel) -> Snapshot:
    """The world with one channel before all others."""
    lowest = min(c.tier for c in world.channels) - 1
    channels = tuple(replace(c, tier=lowest) if c.name == channel.name else c for c in world.channels)
    return replace(world, channels=channels, _serving={})


def ask(model: str, *, stream: bool) -> dict[str, object]:
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": "What is an anchor?"}]}


def trial(world: Snapshot, *, seed: int = 0, only: str = "") -> Iterator[Row]:
    """Every case at every channel that can be played. `only`: the faults whose name holds this text."""
    for channel in world.channels:
        if channel.provider in UNPLAYED:
            continue
        placed = first(world, channel)
        for stream in (True, False):
            yield from _at(placed, channel, stream, seed, only)
        model = models(channel)
        if only in "outage" and others(world, channel, model) and world.route(model).attempts > 1:
            yield outage(placed, channel, seed)


def _at(world: Snapshot, channel: Channel, stream: bool, seed: int, only: str) -> Iterator[Row]:
    model = models(channel)
    own, text = _good(world, model, stream, seed)
    setting = Setting(world.route(model), others(world, channel, model), stream, own, text)
    for case in CATALOGUE:
        if only in case.fault.name:
            yield _row(world, channel, case, setting, seed)


def _good(world: Snapshot, model: str, stream: bool, seed: int) -> tuple[float, str]:
    """Seconds and text of an answer without any fault."""

    async def story() -> Outcome:
        return await Stage(world, seed=seed).ask(ask(model, stream=stream))

    outcome = play(story, seed)
    try:
        return outcome.seconds, text_of(outcome.reply.body, stream=stream)
    except (ValueError, KeyError):
        return outcome.seconds, ""


def _row(world: Snapshot, channel: Channel, case: Case, setting: Setting, seed: int) -> Row:
    async def story() -> tuple[Outcome, bool]:
        stage = Stage(world, {channel.name: case.fault}, seed)
        outcome = await stage.ask(ask(models(channel), stream=setting.stream))
        return outcome, stage.idle

    outcome, idle = play(story, seed)
    wrong = complaints(case, setting, outcome) + ([] if idle else ["something is left in flight"])
    attempts = ", ".join(f"{a.channel} {a.outcome}" for a in outcome.receipt.attempts)
    mode = "stream" if setting.stream else "plain"
    return Row(case.fault.name, channel.name, mode, told(outcome.reply), attempts, outcome.seconds, tuple(wrong))


def outage(world: Snapshot, channel: Channel, seed: int) -> Row:
    """Down for a minute, then well again: nobody notices, few probes, and soon back."""
    model = models(channel)

    async def story() -> tuple[int, int, float]:
        stage = Stage(world, {channel.name: Fault("outage", error=wire.ConnectFailed, until=OUTAGE)}, seed)
        failed, back = 0, float("inf")
        while trio.current_time() < OUTAGE + BACK_WITHIN + 1.0 and back == float("inf"):
            outcome = await stage.ask(ask(model, stream=False))
            failed += outcome.reply.status != 200
            if outcome.receipt.channel == channel.name:
                back = trio.current_time() - OUTAGE
            await trio.sleep(EVERY)
        played = stage.upstreams[channel.name]
        return failed, sum(at < OUTAGE for at in played.seen), back

    failed, probes, back = play(story, seed)
    wrong = []
    if failed:
        wrong.append(f"{failed} requests failed")
    if probes > MOST_PROBES:
        wrong.append(f"asked {probes} times while it was down")
    if back > BACK_WITHIN:
        wrong.append(f"not back within {BACK_WITHIN:g} s")
    told = f"{failed} failed, {probes} probes, back after {back:.1f} s"
    return Row(f"down for {OUTAGE:g} s", channel.name, "plain", told, "", OUTAGE, tuple(wrong))
