"""The bounds that a file gives reach the wire, and without a file they are the wire's own."""

from __future__ import annotations

from dataclasses import fields

import msgspec

from fastanchor.runtime.worker import wire_limits
from fastanchor.settings.schema import Limits
from fastanchor.settings.server import ServerSettings
from fastanchor.wire.limits import H2Limits, ServerLimits

NOT_OF_A_CONNECTION = {"backlog", "max_connections"}


def test_defaults_are_the_same() -> None:
    assert wire_limits(ServerSettings()) == ServerLimits()


def values(limits: ServerLimits) -> list[object]:
    flat = [getattr(limits, f.name) for f in fields(ServerLimits) if f.name not in ("h2", "head", "connections")]
    flat += [getattr(limits.h2, f.name) for f in fields(H2Limits)]
    return flat + [getattr(limits.head, f.name) for f in fields(limits.head)]


def test_every_key_changes_exactly_one_bound() -> None:
    before = values(ServerLimits())
    for name in Limits.__struct_fields__:
        if name in NOT_OF_A_CONNECTION:
            continue
        changed = msgspec.structs.replace(Limits(), **{name: getattr(Limits(), name) + 1})
        after = values(wire_limits(ServerSettings(limits=changed)))
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1, name
