"""The bounds that a file gives reach the wire, and without a file they are the wire's own."""

from __future__ import annotations

from dataclasses import fields

import msgspec

from fastanchor.runtime.worker import decoding_limits, wire_limits
from fastanchor.settings.schema import Limits
from fastanchor.settings.server import ServerSettings
from fastanchor.wire import bodies
from fastanchor.wire.limits import H2Limits, ServerLimits

NOT_OF_A_CONNECTION = {"backlog", "bodies_bytes", "max_connections", "upload_bytes"}


def test_defaults_are_the_same() -> None:
    assert wire_limits(ServerSettings()) == ServerLimits()
    assert Limits().bodies_bytes == bodies.MOST


def values(configured: Limits) -> list[object]:
    limits = wire_limits(ServerSettings(limits=configured))
    decoding = decoding_limits(configured)
    flat = [getattr(limits, f.name) for f in fields(ServerLimits) if f.name not in ("h2", "head", "connections")]
    flat += [getattr(limits.h2, f.name) for f in fields(H2Limits)]
    flat += [getattr(decoding, f.name) for f in fields(decoding)]
    return flat + [getattr(limits.head, f.name) for f in fields(limits.head)]


def test_every_key_changes_exactly_one_bound() -> None:
    before = values(Limits())
    for name in Limits.__struct_fields__:
        if name in NOT_OF_A_CONNECTION:
            continue
        changed = msgspec.structs.replace(Limits(), **{name: getattr(Limits(), name) + 1})
        after = values(changed)
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1, name
