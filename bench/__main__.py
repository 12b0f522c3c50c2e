"""The command line: `python -m bench`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from bench import chart, report, rig, rounds, subjects, verdicts
from bench.build import BuildError, build
from bench.cases import CASES, Bench, Case, Scale
from bench.subjects import RECIPES, Recipe, Subject, SubjectError

CASE_NAMES = [case.name for case in CASES]


@click.group(invoke_without_command=True, context_settings={"max_content_width": 110})
@click.option("--quick", is_flag=True, help="All cases in small, one round, a few seconds: a smoke test, not numbers.")
@click.option("--only", multiple=True, type=click.Choice(CASE_NAMES), help="Only this case; may be repeated.")
@click.option("--rounds", "round_count", default=5, show_default=True, help="Rounds of interleaved measurements.")
@click.option("--seconds", default=2.0, show_default=True, help="Length of a timed window.")
@click.option("--gateway", default="fastanchor", show_default=True,
              help="What is measured beside nginx and the direct connection; 'none' measures those two alone.")
@click.option("--peer", multiple=True, help="Measure this too: haproxy, or http://127.0.0.1:PORT of a gateway that runs "
              "with the stub (see --stub-port) as its OpenAI upstream and takes any key.")
@click.option("--aa", is_flag=True, help="Control: run the gateway twice; ratios of cases where the two differ by over 5% are refused.")
@click.option("--stub-port", default=0, help="Port of the stub provider, for peers that need to know it beforehand.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(__file__).parent / "results",
              help="Folder for the results (bench.json, bench.md, bench.svg).  [default: bench/results]")
@click.pass_context
def main(context: click.Context, *, quick: bool, only: tuple[str, ...], round_count: int, seconds: float, gateway: str,
         peer: tuple[str, ...], aa: bool, stub_port: int, out: Path) -> None:
    """Measure what FastAnchor costs, beside a bare nginx and the direct connection.

    One worker of the gateway has one core, the load generator and a stub provider (both C, compiled on first use) another.
    Every round measures each case on each subject, in turning order; a ratio is made within a round, and its median is
    shown. CPU is that of the whole process tree, to the nanosecond. Every answer is checked: a window with one failed or
    corrupt answer is refused. A ratio is refused where the rig, and not the gateway, may have been what was measured.

    \b
    plain       CPU per request of 1 KB, keep-alive, 8 connections
    paced       CPU per SSE event: slope over the length of 400 streams, one event per 20 ms
    burst       CPU per stream of 50 events that come at once
    large       CPU per request with a prompt of 150 KB
    latency     added time to first token and delay per event, open loop, 30 % load
    saturation  requests per second, 32 and 64 connections
    streams     1000 streams at once: none lost, none mixed up
    memory      per open idle stream, and at rest
    start       from exec to the first answer

    Exit status 2: something that is needed is missing, or nothing could be measured.
    """
    if context.invoked_subcommand is not None:
        return
    scale = Scale.quick() if quick else Scale(seconds=seconds)
    cases = [case for case in CASES if not only or case.name in only]
    try:
        native = build()
        with ExitStack() as stack:
            stub = stack.enter_context(rig.running(native, stub_port))
            gateways = _start(stack, stub, _wanted(gateway, aa, quick), peer)
            bench = Bench(stub, scale, gateways)
            outcomes = _run(bench, cases, [subjects.direct(stub), *gateways], 1 if quick else round_count)
            pinned = stub.pinned
    except (BuildError, SubjectError, rig.RigError) as error:
        raise _fatal(str(error)) from error
    facts = report.conditions(
        rounds=1 if quick else round_count, seconds=scale.seconds, quick=quick, pinned=pinned, command=" ".join(sys.argv[1:]),
        versions={name: subjects.version(RECIPES[name]) for name in dict.fromkeys(g.recipe.name for g in gateways if g.recipe)})
    _publish(outcomes, facts, out)
    if all(outcome.sample is None for outcome in outcomes):
        raise _fatal("nothing could be measured")


@main.command()
@click.option("--only", default="", help="Only entries whose name contains this.")
@click.option("--seconds", default=0.5, show_default=True, help="Time for each half of each entry.")
def micro(only: str, seconds: float) -> None:
    """Compiled modules against their pure twins, call by call."""
    from bench.micro import entries, runner

    click.echo(runner.table(runner.run(entries.ENTRIES, only, seconds)))


def _wanted(gateway: str, aa: bool, quick: bool) -> list[tuple[Recipe, str]]:
    """The gateways to start, the reference first. A smoke test does without what is not installed, and says so."""
    if gateway not in (*RECIPES, "none"):
        raise _fatal(f"--gateway is one of {', '.join(RECIPES)} or none, not {gateway!r}")
    names = [verdicts.REFERENCE] + ([gateway] if gateway not in ("none", verdicts.REFERENCE) else [])
    wanted = []
    for name in names:
        reason = RECIPES[name].missing()
        if reason and quick:
            click.echo(f"left out: {reason}", err=True)
        elif reason:
            raise _fatal(f"{reason}; it is needed for a comparison")
        else:
            wanted.append((RECIPES[name], name))
    if aa and wanted:
        recipe, name = wanted[-1]
        wanted.append((recipe, name + verdicts.AGAIN))
    return wanted


def _start(stack: ExitStack, stub: rig.Rig, wanted: list[tuple[Recipe, str]], peers: tuple[str, ...]) -> list[Subject]:
    if not stub.pinned:
        click.echo("only one core: gateway and rig share it, so times and throughput say little", err=True)
    started = [stack.enter_context(subjects.launch(recipe, stub, name=name)) for recipe, name in wanted]
    for peer in peers:
        started.append(stack.enter_context(subjects.launch(RECIPES[peer], stub)) if peer in RECIPES else subjects.at_url(peer))
    return started


def _run(bench: Bench, cases: list[Case], measured: list[Subject], round_count: int) -> list[rounds.Outcome]:
    steps = list(rounds.plan(cases, measured, round_count))
    return rounds.run(bench, steps, _progress(len(steps), round_count))


def _progress(steps: int, round_count: int) -> Callable[[int, rounds.Outcome], None]:
    begun = time.monotonic()

    def tell(step: int, outcome: rounds.Outcome) -> None:
        minutes, seconds = divmod(int(time.monotonic() - begun), 60)
        if outcome.sample is None:
            what = f"refused: {outcome.refused}"
        else:
            what = ", ".join(f"{metric.key} {report.number(outcome.sample.values[metric.key])} {metric.unit}".rstrip()
                             for metric in outcome.case.metrics if metric.key in outcome.sample.values)
        click.echo(f"[{step}/{steps} {minutes}:{seconds:02}] round {outcome.round + 1}/{round_count} "
                   f"{outcome.case.name:<10} {outcome.subject:<16} {what}", err=True)

    return tell


def _publish(outcomes: list[rounds.Outcome], facts: dict[str, object], out: Path) -> None:
    rows = verdicts.judge(outcomes)
    click.echo("\n" + report.table(rows))
    for warning in report.warnings(outcomes):
        click.echo(f"! {warning}")
    out.mkdir(parents=True, exist_ok=True)
    caption = f"{facts['cpu']}, Linux {facts['kernel']}, {facts['rounds']} rounds; bars: median, lines: least to greatest"
    for name, text in (("bench.json", report.document(outcomes, rows, facts)), ("bench.md", report.markdown(rows, facts)),
                       ("bench.svg", chart.chart(rows, caption))):
        (out / name).write_text(text)
    click.echo(f"\nwritten: {out}/bench.json, bench.md, bench.svg")


def _fatal(text: str) -> click.ClickException:
    error = click.ClickException(text)
    error.exit_code = 2
    return error


if __name__ == "__main__":
    main(prog_name="python -m bench")
