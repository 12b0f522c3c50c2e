"""The `fastanchor` command. What a command needs is imported when it runs: asking for help costs nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from fastanchor import __version__

CONFIG = click.option(
    "--config", "path", type=click.Path(dir_okay=False, path_type=Path), help="Configuration file (TOML)."
)


@click.group(invoke_without_command=True)
@click.version_option(__version__, prog_name="fastanchor")
@click.pass_context
def main(context: click.Context) -> None:
    """One endpoint in front of every LLM provider. Without a command: serve."""
    if context.invoked_subcommand is None:
        context.invoke(serve)


@main.command()
@CONFIG
@click.option("--listen", multiple=True, help="Address, instead of the configured ones: host:port or unix:/path.")
@click.option("--workers", type=click.IntRange(0, 1024), help="Data processes; 0: one per core.")
def serve(path: Path | None = None, listen: tuple[str, ...] = (), workers: int | None = None) -> None:
    """Run the gateway. Reads ./config.toml, else $FASTANCHOR_CONFIG, else a built-in default."""
    from fastanchor.runtime import log
    from fastanchor.runtime.instance import Instance
    from fastanchor.runtime.state import StateInUse
    from fastanchor.settings.load import find
    from fastanchor.settings.problem import SettingsError

    log.configure()
    overrides: dict[str, object] = {}
    if listen:
        overrides["listen"] = list(listen)
    if workers is not None:
        overrides["workers"] = workers
    try:
        instance = Instance(path or find(os.environ, Path.cwd()), os.environ, overrides)
        code = instance.run()
    except SettingsError as error:
        _complain(error.problems, error.source)
        sys.exit(2)
    except (OSError, StateInUse) as error:
        raise click.ClickException(f"cannot start: {error}") from None
    sys.exit(code)


@main.command()
@CONFIG
def check(path: Path | None) -> None:
    """Validate a configuration. Exit status 2 when something is wrong with it."""
    from fastanchor.settings.load import check as problems_of
    from fastanchor.settings.load import find, source

    path = path or find(os.environ, Path.cwd())
    problems = problems_of(path, os.environ)
    if problems:
        _complain(problems, source(path))
        sys.exit(2)
    click.echo(f"{source(path)}: good")


@main.command()
@click.option("--listen", default="127.0.0.1:8089", show_default=True, help="Address: host:port or unix:/path.")
def demo(listen: str) -> None:
    """Run the demo provider alone: OpenAI, Anthropic and Gemini endpoints that need no key."""
    from fastanchor.runtime import log
    from fastanchor.runtime.demo import run_demo
    from fastanchor.wire.listen import bind

    log.configure()
    try:
        listener = bind(listen)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"cannot listen: {error}") from None
    click.echo(f"demo provider on {listen}", err=True)
    run_demo(listener)


@main.command()
@CONFIG
@click.option("--fault", default="", help="Only faults whose name holds this text.")
@click.option("--seed", default=0, show_default=True, help="Of every choice that is left to chance.")
def lab(path: Path | None, fault: str, seed: int) -> None:
    """Try the configuration against failing upstreams, in memory and without waiting. Exit status 1 when a promise is
    broken. Secrets that are not in the environment are made up."""
    from fastanchor.lab.report import heading, told
    from fastanchor.lab.trial import trial
    from fastanchor.lab.world import load_world
    from fastanchor.settings.load import find
    from fastanchor.settings.problem import SettingsError

    try:
        world = load_world(path or find(os.environ, Path.cwd()), os.environ)
    except SettingsError as error:
        _complain(error.problems, error.source)
        sys.exit(2)
    click.echo(heading())
    cases = broken = 0
    for row in trial(world, seed=seed, only=fault):
        cases += 1
        broken += bool(row.wrong)
        click.echo("\n".join(told(row)))
    click.echo(f"{cases} cases, {broken} with a broken promise")
    sys.exit(1 if broken else 0)


def _complain(problems: object, source: str) -> None:
    for problem in problems:  # type: ignore[attr-defined]
        click.echo(f"{source}: {problem}", err=True)


if __name__ == "__main__":
    main()
