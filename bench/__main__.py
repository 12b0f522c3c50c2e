"""The command line: `python -m bench`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click

from bench import chart, report
from bench.build import BuildError
from bench.cases import CASES
from bench.cases.case import Scale
from bench.recipes import RECIPES, Recipe
from bench.rig import RigError
from bench.rounds import Outcome
from bench.session import Order, Progress, Run, carry_out
from bench.subjects import SubjectError
from bench.verdicts import AGAIN, REFERENCE, judge

CASE_NAMES = [case.name for case in CASES]


class Fatal(click.ClickException):
    """Nothing can be measured; the text says why."""

    exit_code = 2


@click.group(
    invoke_without_command=True,
    context_settings={"max_content_width": 110},
    epilog="\b\nCases:\n" + "\n".join(f"{case.name:<18}{case.about}" for case in CASES),
)
@click.option("--quick", is_flag=True, help="All cases in small, one round, a few seconds: a smoke test, not numbers.")
@click.option("--only", multiple=True, type=click.Choice(CASE_NAMES), help="Only this case; may be repeated.")
@click.option("--rounds", "round_count", default=15, show_default=True, help="Rounds of interleaved measurements.")
@click.option(
    "--minutes", default=9.0, show_default=True, help="A round that would not end within this time is not begun."
)
@click.option("--seconds", default=1.5, show_default=True, help="Length of a timed window.")
@click.option(
    "--gateway",
    default="fastanchor",
    show_default=True,
    help="What is measured beside nginx and the direct connection; 'none' measures those two alone.",
)
@click.option(
    "--peer",
    multiple=True,
    help="Measure this too: haproxy, envoy or litellm, or http://127.0.0.1:PORT of a gateway that runs "
    "with the stub (see --stub-port) as its OpenAI upstream and takes any key.",
)
@click.option(
    "--aa/--no-aa",
    default=True,
    help="Control: run the gateway twice; a metric in which the two differ by over 5% has no ratios. On by default.",
)
@click.option("--stub-port", default=0, help="Port of the stub provider, for peers that need to know it beforehand.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(__file__).parent / "results",
    help="Folder for the results (bench.json, bench.md, bench.svg).  [default: bench/results]",
)
@click.pass_context
def main(
    context: click.Context,
    *,
    quick: bool,
    only: tuple[str, ...],
    round_count: int,
    minutes: float,
    seconds: float,
    gateway: str,
    peer: tuple[str, ...],
    aa: bool,
    stub_port: int,
    out: Path,
) -> None:
    """Measure what FastAnchor costs, beside a bare nginx and the direct connection.

    One worker of the gateway has one core; the load generator and a stub provider (C, compiled on first use) another.
    Every round measures each case on each subject, in turning order; a ratio is made within a round, and its median
    is shown. CPU is that of the whole process tree, to the nanosecond. Every answer is checked: a window with one
    failed or corrupt answer is refused. A ratio is refused where the rig, and not the gateway, may have been what was
    measured.

    Exit status 2: something that is needed is missing, or nothing could be measured.
    """
    if context.invoked_subcommand is not None:
        return
    order = Order(
        cases=[case for case in CASES if (case.name in only if only else not case.extra)],
        scale=Scale.quick() if quick else Scale(seconds=seconds),
        rounds=1 if quick else round_count,
        gateways=_gateways(gateway, aa and not quick, quick),
        peers=peer,
        stub_port=stub_port,
        within=minutes * 60,
    )
    try:
        run = carry_out(order, _progress(order.rounds))
    except (BuildError, SubjectError, RigError) as error:
        raise Fatal(str(error)) from error
    _publish(run, order, out)
    if all(outcome.sample is None for outcome in run.outcomes):
        raise Fatal("nothing could be measured")


@main.command()
@click.option("--only", default="", help="Only entries whose name contains this.")
@click.option("--seconds", default=0.5, show_default=True, help="Time for each half of each entry.")
def micro(only: str, seconds: float) -> None:
    """Compiled modules against their pure twins, call by call."""
    from bench.micro import entries, runner

    click.echo(runner.table(runner.run(entries.ENTRIES, only, seconds)))


@main.command()
@click.option("--record", is_flag=True, help="Make what is counted the recorded values.")
@click.option("--only", default="", help="Only work whose name contains this.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for what callgrind writes, for callgrind_annotate.",
)
def counts(*, record: bool, only: str, keep: Path | None) -> None:
    """Syscalls and instructions of a worker, for each request and each event.

    They do not depend on the machine or on what else it does. Exit status 1: one is over its recorded value by more
    than 5%; status 2: it could not be counted.
    """
    from bench.counts import gate, lockstep, meters, works

    with tempfile.TemporaryDirectory() as name:
        folder = keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            chosen = [work for work in works.WORKS if only in work.name]
            found = gate.measure(folder, chosen, lambda count: click.echo(gate.line(count)))
        except (meters.MeterError, lockstep.LockstepError, BuildError) as error:
            raise Fatal(str(error)) from error
    if any(count.recorded is None for count in found):
        click.echo(f"! not all of it is recorded for {gate.PYTHON}: python -m bench counts --record")
    if record:
        gate.record(found)
    elif any(count.over for count in found):
        raise click.ClickException("more than recorded (python -m bench counts --record, if that is meant)")


def _gateways(gateway: str, aa: bool, quick: bool) -> list[tuple[str, Recipe]]:
    """The gateways to start, the reference first. A smoke test does without what is not installed, and says so."""
    if gateway not in (*RECIPES, "none"):
        raise Fatal(f"--gateway is one of {', '.join(RECIPES)} or none, not {gateway!r}")
    wanted = []
    for name in dict.fromkeys((REFERENCE, gateway if gateway != "none" else REFERENCE)):
        reason = RECIPES[name].missing()
        if reason and not quick:
            raise Fatal(f"{reason}; it is needed for a comparison")
        if reason:
            click.echo(f"left out: {reason}", err=True)
        else:
            wanted.append((name, RECIPES[name]))
    if aa and wanted:
        name, recipe = wanted[-1]
        wanted.append((name + AGAIN, recipe))
    return wanted


def _progress(round_count: int) -> Progress:
    begun = time.monotonic()

    def tell(step: int, steps: int, outcome: Outcome) -> None:
        minutes, seconds = divmod(int(time.monotonic() - begun), 60)
        click.echo(
            f"[{step}/{steps} {minutes}:{seconds:02}] round {outcome.round + 1}/{round_count} "
            f"{outcome.case.name:<10} {outcome.subject:<16} {report.brief(outcome)}",
            err=True,
        )

    return tell


def _publish(run: Run, order: Order, out: Path) -> None:
    facts = report.conditions(
        rounds=1 + max(outcome.round for outcome in run.outcomes),
        seconds=order.scale.seconds,
        pinned=run.pinned,
        command=" ".join(["python -m bench", *sys.argv[1:]]),
        versions=run.versions,
    )
    rows = judge(run.outcomes)
    click.echo("\n" + report.table(rows))
    if not run.pinned:
        click.echo("! only one core: gateway and rig shared it, so times and throughput say little")
    for warning in report.warnings(run.outcomes):
        click.echo(f"! {warning}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench.json").write_text(report.document(run.outcomes, rows, facts))
    (out / "bench.md").write_text(report.markdown(rows, facts))
    (out / "bench.svg").write_text(chart.chart(rows, report.caption(facts)))
    click.echo(f"\nwritten: {out}/bench.json, bench.md, bench.svg")


if __name__ == "__main__":
    main(prog_name="python -m bench")
