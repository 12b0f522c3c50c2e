"""The bounds that a file gives reach the wire, and without a file they are the wire's own."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import msgspec

import fastanchor
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


COUNTED = {
    "request_line_bytes": "request_line", "field_bytes": "field", "head_bytes": "head", "fields": "fields",
    "body_bytes": "body", "bodies_bytes": "bodies", "upload_bytes": "body", "head_seconds": "head_deadline",
    "decoded_ratio": "decoding_ratio", "decoded_grace_bytes": "decoding_ratio", "body_seconds": "body_stall",
    "body_bytes_per_second": "body_rate", "body_grace_seconds": "body_rate", "keep_alive_seconds": "idle",
    "keep_alive_pressed_seconds": "pressed_idle", "requests_per_connection": "requests",
    "write_stall_seconds": "write_stall", "linger_bytes": "linger", "linger_seconds": "linger",
    "tls_handshake_seconds": "tls_handshake_timeout", "h2_streams": "h2_streams",
    "h2_stream_window_bytes": "h2_protocol_error", "h2_connection_window_bytes": "h2_protocol_error",
    "h2_continuations": "h2_continuation", "h2_resets": "h2_rapid_reset", "h2_pings": "h2_ping",
    "h2_settings": "h2_settings", "h2_glitches": "h2_glitches", "h2_unsent_bytes": "h2_unsent",
    "h2_preface_seconds": "h2_preface_timeout", "h2_header_seconds": "h2_header_block_timeout",
    "h2_window_seconds": "h2_window_stall", "ws_message_bytes": "ws_message", "ws_frame_bytes": "ws_frame",
    "ws_fragments": "ws_fragments", "ws_control_frames": "ws_control_frames", "ws_unsent_bytes": "ws_unsent",
    "ws_ping_seconds": "ws_pong", "ws_pong_seconds": "ws_pong", "ws_idle_seconds": "ws_idle",
    "ws_auth_seconds": "ws_auth", "ws_close_seconds": "ws_close", "max_connections": "connections",
    "connections_per_address": "connections_per_address",
    "connections_per_address_per_second": "connections_per_address",
}  # fmt: skip
"""The label of `fastanchor_limit_hits_total` for each bound. What the backlog drops is counted by the kernel."""


def test_every_key_has_a_name_under_which_it_is_counted() -> None:
    """Each name is one that the code counts under; that it does is tested where the bound is."""
    assert COUNTED.keys() == set(Limits.__struct_fields__) - {"backlog"}
    package = Path(fastanchor.__file__).parent
    code = "".join(file.read_text() for folder in ("wire", "engine", "_speedups") for file in
                   (package / folder).glob("*.py*") if file.suffix in (".py", ".pyx"))  # fmt: skip
    assert [name for name in COUNTED.values() if f'"{name}"' not in code] == []
