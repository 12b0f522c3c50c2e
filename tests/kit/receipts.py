"""Receipts for tests: one ordinary request, changed where a test needs it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from fastanchor._speedups.line import line
from fastanchor.core.receipt import AttemptRecord, Receipt
from fastanchor.core.usage import Usage
from fastanchor.store.records import Open, Record

STARTED = 1_780_000_000.0

_ATTEMPTS = (
    AttemptRecord("backup", "gpt-4o", 0, "first", "upstream_error", 500, 0.0, 0.1),
    AttemptRecord("main", "gpt-4o-2024-08-06", 1, "next_channel", "won", 200, 0.1, 1.1, 0.3, Usage(90, 50), 500),
)
_RECEIPT = Receipt(
    "req_1", STARTED, "openai_chat", "chat", "10.0.0.1:5", "k1", "acme", "gpt-4o", "gpt-4o-2024-08-06", "main",
    "openai", True, 200, "done", 1.2, 0.3, 0.00004, Usage(90, 50, cache_read=10), 500, 1_000, 20_000, _ATTEMPTS,
)


def receipt(request_id: str = "req_1", **changes: Any) -> Receipt:
    return replace(_RECEIPT, request_id=request_id, **changes)


def opened(request_id: str = "req_1", **changes: Any) -> Open:
    fields: dict[str, Any] = {
        "id": request_id, "at": STARTED, "key": "k1", "organization": "acme", "model": "gpt-4o", "metered": True,
        "tokens": 4_000, "cost": 9_000,
    }
    return Open(**(fields | changes))


def frame(record: Record) -> bytes:
    """The line of any record, from its fields."""
    return line(tuple(msgspec.to_builtins(record)))
