"""One run of the bench: starts the rig and the subjects, takes the rounds, and stops what it started."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from bench import rig, rounds, subjects
from bench.build import build
from bench.cases.case import Bench, Case, Scale
from bench.recipes import RECIPES, Recipe
from bench.subjects import Subject

NICE = -5
Progress = Callable[[int, int, rounds.Outcome], None]


@dataclass(frozen=True)
class Order:
    """What shall be measured. `gateways` are started by us, each under its name; a peer is a recipe's name or a URL.

    No round is begun that would not end `within` seconds.
    """

    cases: Sequence[Case]
    scale: Scale
    rounds: int
    gateways: Sequence[tuple[str, Recipe]]
    peers: Sequence[str] = ()
    stub_port: int = 0
    within: float = math.inf


@dataclass(frozen=True)
class Run:
    """What came of it. Not `pinned`: rig and subjects shared a core."""

    outcomes: list[rounds.Outcome]
    pinned: bool
    versions: dict[str, str]


def carry_out(order: Order, progress: Progress) -> Run:
    """Measures; `progress` hears (step, steps, outcome) after each measurement.

    Raises:
        BuildError: the native programs do not compile.
        SubjectError: a gateway does not start, or a peer cannot be found.
        RigError: load generator or stub died.
    """
    native = build()
    with ExitStack() as stack, _preferred():
        stub = stack.enter_context(rig.running(native, order.stub_port))
        gateways = [stack.enter_context(subjects.launch(recipe, stub, name=name)) for name, recipe in order.gateways]
        gateways += [_peer(stack, stub, peer) for peer in order.peers]
        steps = list(rounds.plan(order.cases, [subjects.direct(stub), *gateways], order.rounds))
        bench = Bench(stub, order.scale, gateways)
        outcomes = rounds.run(bench, steps, lambda n, o: progress(n, len(steps), o), order.within)
        recipes = dict.fromkeys(gateway.recipe for gateway in gateways if gateway.recipe)
        return Run(outcomes, stub.pinned, {recipe.name: subjects.version(recipe) for recipe in recipes})


@contextmanager
def _preferred() -> Iterator[None]:
    """Goes before what else runs on the machine, with all that it starts in the meantime, if that is permitted."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, min(before, NICE))
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before)


def _peer(stack: ExitStack, stub: rig.Rig, peer: str) -> Subject:
    return stack.enter_context(subjects.launch(RECIPES[peer], stub)) if peer in RECIPES else subjects.at_url(peer)
