"""How an instance runs: addresses, processes, bounds, logs. Everything that is not the world a request is routed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fastanchor.settings import schema
from fastanchor.settings.address import Address, parse_address
from fastanchor.settings.context import Context
from fastanchor.settings.tls import TlsSettings, compile_tls

NOT_YET = ("redis_url", "postgres_url")
"""Keys of `server` that are reserved: a file that sets one is refused rather than half obeyed."""

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """`workers` 0: one per core. `keep_alive` and everything per request is in the Snapshot. Times in seconds."""

    listen: tuple[Address, ...] = (Address("127.0.0.1", 8080),)
    workers: int = 1
    state_dir: str = "./state"
    key_prefix: str = "fa"  # what new keys of the store start with
    tls: TlsSettings | None = None
    access_log: Literal["json", "text", "off"] = "json"
    metrics: bool = True
    half_close_aborts: bool = True  # a client that half-closes has left: its upstream is cancelled
    drain_seconds: float = 30.0
    limits: schema.Limits = field(default_factory=schema.Limits)
    cors_origins: tuple[str, ...] = ()
    cors_max_age: int = 600
    responses_retention: float = 30 * DAY
    ledger: schema.Ledger = field(default_factory=schema.Ledger)

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the instance."""
        return all(address.local for address in self.listen)


def compile_server(config: schema.Config, context: Context) -> ServerSettings:
    """The running side of a configuration; problems go to the context."""
    server = config.server
    for name in NOT_YET:
        if getattr(server, name) is not None:
            context.wrong(f"server.{name}", "is not supported by this version")
    _check_limits(server.limits, context)
    return ServerSettings(
        listen=_addresses(server.listen, context),
        workers=server.workers,
        state_dir=server.state_dir,
        key_prefix=server.key_prefix,
        tls=None if server.tls is None else compile_tls(server.tls, context),
        access_log=server.access_log,
        metrics=server.metrics,
        half_close_aborts=server.half_close_aborts,
        drain_seconds=server.drain_seconds,
        limits=server.limits,
        cors_origins=tuple(config.cors.origins),
        cors_max_age=config.cors.max_age,
        responses_retention=config.responses.retention_days * DAY,
        ledger=config.ledger,
    )


def _addresses(texts: list[str], context: Context) -> tuple[Address, ...]:
    found: list[Address] = []
    for i, text in enumerate(texts):
        try:
            address = parse_address(text)
        except ValueError as error:
            context.wrong(f"server.listen[{i}]", f'{error}, got "{text}"')
            continue
        if address in found and address.port != 0:
            context.wrong(f"server.listen[{i}]", f"{address} stands twice")
        found.append(address)
    return tuple(found)


def _check_limits(limits: schema.Limits, context: Context) -> None:
    for name in ("request_line_bytes", "field_bytes"):
        if getattr(limits, name) > limits.head_bytes:
            context.wrong(f"server.limits.{name}", f"expected int <= head_bytes ({limits.head_bytes})")
