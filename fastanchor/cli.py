"""The `fastanchor` command. What a command needs is imported when it runs: asking for help costs nothing."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from fastanchor import __version__

if TYPE_CHECKING:
    from fastanchor.core.principal import Plan
    from fastanchor.settings.compile import Settings

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
    gc.disable()  # until everything is there: what is imported lives for good
    from fastanchor.runtime import log
    from fastanchor.runtime.instance import Instance
    from fastanchor.settings.load import find
    from fastanchor.settings.problem import SettingsError
    from fastanchor.store.pepper import PepperError
    from fastanchor.store.state_dir import StateDirInUse

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
    except (OSError, StateDirInUse, PepperError) as error:
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


@main.group()
def keys() -> None:
    """API keys of the store: create, list, revoke, rotate. A running instance follows within a moment."""


@keys.command("create")
@CONFIG
@click.option("--name", required=True, help="What the key is for; shown in logs and usage.")
@click.option("--organization", default="default", show_default=True)
@click.option("--scope", "scopes", multiple=True, help="inference (the default), training, models, admin.")
@click.option("--plan", default="", help="One of the configured plans; without one: unlimited.")
@click.option("--model", "models", multiple=True, help="Only these models (names or globs).")
@click.option("--endpoint", "endpoints", multiple=True, help="Only these endpoints (paths or globs).")
@click.option("--address", "addresses", multiple=True, help="Only from these networks, such as 10.0.0.0/8.")
@click.option("--limit", "limits", multiple=True, help="Narrower than the plan's: requests_per_minute=60.")
@click.option("--expires-in", type=float, help="Days.")
def create_key(
    path: Path | None, name: str, organization: str, scopes: tuple[str, ...], plan: str, models: tuple[str, ...],
    endpoints: tuple[str, ...], addresses: tuple[str, ...], limits: tuple[str, ...], expires_in: float | None,
) -> None:
    """Make a key and show it, once."""
    from fastanchor.policy.grants import Grant

    settings, state_dir = _state(path)
    if plan and plan not in settings.snapshot.plans:
        raise click.ClickException(f"there is no plan '{plan}'")
    grant = Grant(
        name=name,
        organization=organization,
        scopes=frozenset(scopes) or None,
        plan=plan,
        models=models,
        endpoints=endpoints,
        addresses=addresses,
        limits=_limits(name, limits),
        expires=None if expires_in is None else time.time() + expires_in * 86_400,
    )
    with _books(), desk().keys(state_dir, settings.server.key_prefix) as store:
        made = store.create(grant, grantor=None, now=time.time())
    click.echo(made.key)
    click.echo(f"id {made.info.id}, organization {organization}; this key is not shown again", err=True)


def _limits(name: str, texts: tuple[str, ...]) -> Plan | None:
    """The key's own limits from their options."""
    from fastanchor.core.principal import Plan
    from fastanchor.policy.grants import LIMITS

    found: dict[str, Any] = {}
    for text in texts:
        limit, _, number = text.partition("=")
        if limit not in LIMITS or not (number.isascii() and number.isdigit()):
            raise click.ClickException(f"--limit {text}: expected NAME=NUMBER, with one of {', '.join(LIMITS)}")
        found[limit] = int(number)
    return Plan(name, **found) if found else None


@keys.command("list")
@CONFIG
@click.option("--organization")
@click.option("--revoked", is_flag=True, help="Revoked keys, too.")
def list_keys(path: Path | None, organization: str | None, revoked: bool) -> None:
    """Show keys, without their secrets."""
    with _books(), desk().keys(_state(path)[1]) as store:
        for info in store.list(organization, revoked=revoked):
            state = "revoked" if info.revoked else "active"
            click.echo(f"{info.id}  {info.organization}  {info.name}  {','.join(sorted(info.scopes))}  {state}")


@keys.command("revoke")
@CONFIG
@click.argument("id")
def revoke_key(path: Path | None, id: str) -> None:
    """End a key, in every worker."""
    with _books(), desk().keys(_state(path)[1]) as store:
        if not store.revoke(id, now=time.time()):
            raise click.ClickException(f"there is no active key '{id}'")
    click.echo(f"revoked {id}")


@keys.command("rotate")
@CONFIG
@click.argument("id")
@click.option("--overlap", default=24.0, show_default=True, help="Hours for which the old secret still works.")
def rotate_key(path: Path | None, id: str, overlap: float) -> None:
    """Give a key a new secret and show it, once."""
    with _books(), desk().keys(_state(path)[1]) as store:
        made = store.rotate(id, overlap=overlap * 3600, now=time.time())
    if made is None:
        raise click.ClickException(f"there is no active key '{id}'")
    click.echo(made.key)


@main.group("credits")
def credit() -> None:
    """Credits of organisations: add, list. A running instance knows at once."""


@credit.command("add")
@CONFIG
@click.argument("organization")
@click.argument("dollars")
@click.option("--id", "id", help="Counts once: the same id again changes nothing.")
@click.option("--reason", default="top-up", show_default=True)
def add_credits(path: Path | None, organization: str, dollars: str, id: str | None, reason: str) -> None:
    """Give an organisation credits, or take them with a negative amount (after --)."""
    from fastanchor.control.credits import Credits

    with _books(), desk().bookkeeper(_state(path)[1]) as keeper:
        document = {"organization": organization, "amount_usd": dollars, "reason": reason}
        done = Credits(keeper).add(document if id is None else {**document, "id": id})
    known = "" if done["applied"] else " (was given before)"
    click.echo(f"{done['id']}: {organization} ${done['amount_usd']:.6f}{known}")


@credit.command("list")
@CONFIG
def list_credits(path: Path | None) -> None:
    """Show what every organisation has."""
    with _books(), desk().ledger(_state(path)[1]) as books:
        for organization, account in books.accounts().items():
            sums = (f"{name} ${getattr(account, name) / 1e6:.6f}" for name in ("available", "held", "spent", "granted"))
            click.echo(f"{organization}  {'  '.join(sums)}")


@main.command()
@CONFIG
@click.option("--by", default="day,model", show_default=True, help="Any of organization, key, model, day.")
def usage(path: Path | None, by: str) -> None:
    """Requests, tokens and cost, added up."""
    from fastanchor.store import reports

    groups = [word for word in by.split(",") if word]
    with _books(), desk().ledger(_state(path)[1]) as ledger:
        for row in reports.usage(ledger, by=groups):  # type: ignore[arg-type]  # unknown words are left out
            if "day" in row:
                row["day"] = date.fromordinal(date(1970, 1, 1).toordinal() + row["day"])
            labels = "  ".join(str(row[name]) for name in groups if name in row)
            tokens = f"{row['input']} in, {row['output']} out"
            click.echo(f"{labels}  {row['requests']} requests  {tokens}  ${row['cost'] / 1e6:.6f}")


@main.group()
def ledger() -> None:
    """The books."""


@ledger.command("verify")
@CONFIG
def verify_ledger(path: Path | None) -> None:
    """Prove that journals, ledger and accounts agree. Exit status 1 when they do not."""
    from fastanchor.store.audit import verify

    with _books(), desk().ledger(_state(path)[1]) as books:
        books.fold(time.time())
        audit = verify(books)
    for problem in audit.problems:
        click.echo(problem, err=True)
    click.echo(
        f"{audit.requests} requests ({audit.open} open), {audit.records} records in {audit.segments} journals, "
        f"{audit.damaged} damaged, {audit.torn} bytes torn: {'sound' if audit.sound else 'NOT SOUND'}"
    )
    sys.exit(0 if audit.sound else 1)


@ledger.command("export")
@CONFIG
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="jsonl", show_default=True)
def export_ledger(path: Path | None, form: str) -> None:
    """Write every request that is kept to stdout."""
    from fastanchor.store import reports

    with _books(), desk().ledger(_state(path)[1]) as books:
        rows = reports.every_request(books)
        for line in reports.as_csv(rows) if form == "csv" else reports.as_json_lines(rows):
            sys.stdout.buffer.write(line)


def desk() -> ModuleType:
    """The way to the databases, imported when a command needs it."""
    from fastanchor.runtime import desk as found

    return found


def _state(path: Path | None) -> tuple[Settings, Path]:
    """The configuration, and the state directory that it names."""
    from fastanchor.settings.load import find, load
    from fastanchor.settings.problem import SettingsError

    try:
        settings = load(path or find(os.environ, Path.cwd()), os.environ, pepper=b"")
    except SettingsError as error:
        _complain(error.problems, error.source)
        sys.exit(2)
    return settings, Path(settings.server.state_dir).absolute()


@contextmanager
def _books() -> Iterator[None]:
    """Tell what is wrong with the books in one line."""
    from fastanchor.core.faults import Fault
    from fastanchor.store.pepper import PepperError
    from fastanchor.store.sqlite import StoreError

    try:
        yield
    except (Fault, StoreError, PepperError, OSError) as error:
        raise click.ClickException(str(error)) from None


def _complain(problems: object, source: str) -> None:
    for problem in problems:  # type: ignore[attr-defined]
        click.echo(f"{source}: {problem}", err=True)


if __name__ == "__main__":
    main()
