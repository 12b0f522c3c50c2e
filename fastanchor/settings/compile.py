"""A checked configuration becomes the world: a `core.Snapshot` and how the instance runs.

Pure: the environment and the reader of secret files are passed in, nothing else is looked at. Every problem is found
before any is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastanchor.core.model import ModelCard
from fastanchor.core.snapshot import Snapshot
from fastanchor.settings import schema
from fastanchor.settings.channels import compile_channels, wants_demo
from fastanchor.settings.context import Context
from fastanchor.settings.principals import compile_principals
from fastanchor.settings.problem import SettingsError
from fastanchor.settings.routes import compile_cards, compile_channel_cards, compile_routes
from fastanchor.settings.secrets import ReadFile
from fastanchor.settings.server import ServerSettings, compile_server

DEMO_URL = "http://127.0.0.1:8089/v1"
"""Where `fastanchor demo` listens unless told otherwise."""

NO_CARDS: Mapping[str, ModelCard] = {}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a configuration says. `demo`: the built-in demo provider must run. `warnings` are for the operator."""

    server: ServerSettings
    snapshot: Snapshot
    demo: bool
    warnings: tuple[str, ...] = ()


def compile_settings(
    config: schema.Config,
    environ: Mapping[str, str],
    read_file: ReadFile,
    *,
    pepper: bytes,
    source: str = "configuration",
    cards: Mapping[str, ModelCard] = NO_CARDS,
    demo_url: str = DEMO_URL,
    version: int = 0,
) -> Settings:
    """Compile a whole configuration. Raises SettingsError with every problem.

    `pepper` keys the digests of API keys; `cards` are the known models, whose prices the file may override.
    """
    context = Context(environ, read_file, pepper, demo_url)
    server = compile_server(config, context)
    principals = compile_principals(config, context)
    channels = compile_channels(config, context)
    routes = compile_routes(config, channels, context)
    auth = _auth(config, server, bool(principals.keys), context)
    if context.problems:
        raise SettingsError(source, context.problems)
    priced = compile_cards(config, cards)
    snapshot = Snapshot(
        channels=channels,
        routes=routes,
        plans=principals.plans,
        organizations=principals.organizations,
        keys=principals.keys,
        cards=priced,
        channel_cards=compile_channel_cards(config, priced),
        auth=auth,
        auto_auth=config.server.auth == "auto",
        admin_digest=principals.admin_digest,
        anthropic_done=config.server.anthropic_done,
        keep_alive=config.server.keep_alive,
        version=version,
    )
    return Settings(server, snapshot, wants_demo(config, environ), tuple(context.warnings))


def _auth(config: schema.Config, server: ServerSettings, has_keys: bool, context: Context) -> bool:
    """Whether requests need a key. "auto" opens an instance only where no key exists and nobody else can reach it."""
    asked = config.server.auth
    auth = (has_keys or not server.local) if asked == "auto" else asked
    if auth and not has_keys:
        context.warnings.append("server.auth: no key is configured, so every request will be answered with 401")
    if not auth and not server.local:
        places = ", ".join(str(address) for address in server.listen if not address.local)
        context.warnings.append(f"OPEN INSTANCE: server.auth = false, whoever can reach {places} can spend your keys")
    return auth
