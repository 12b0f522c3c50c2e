"""What is written: diagnostics to stderr, and one access line per request to stdout.

The loop never waits for a log. Receipts are kept in a list; a flusher renders and writes them in a thread a few times
per second. A sink that does not take them (a full pipe) makes the list reach its bound, and then lines are dropped and
counted. So are those of refused requests of nobody in particular, beyond some in a second: their flood fills no disk.
Values that come from a client are cut at 256 characters and escaped by the JSON writer: one request, one line.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import orjson
import trio

from fastanchor.core.principal import ANYONE
from fastanchor.core.receipt import AttemptRecord, Receipt

FLUSH_SECONDS = 0.25
MAX_PENDING = 20_000
MAX_VALUE = 256
STRANGERS_PER_SECOND = 100
"""Lines of requests that were refused before it was known who asks."""


def configure(level: int = logging.INFO) -> None:
    """Send diagnostics of this process to stderr."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(process)d %(message)s", force=True
    )


@lru_cache(maxsize=16)
def _second(unix: int) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def fields(receipt: Receipt) -> dict[str, Any]:
    """The access line's fields. Holds no key and no content."""
    usage = receipt.usage
    line: dict[str, Any] = {
        "ts": f"{_second(int(receipt.started))}.{int(receipt.started * 1000) % 1000:03d}+00:00",
        "request_id": receipt.request_id,
        "client": receipt.client,
        "key_id": receipt.key_id,
        "endpoint": receipt.endpoint,
        "model": receipt.model[:MAX_VALUE],
        "channel": receipt.channel,
        "served_model": receipt.served_model[:MAX_VALUE],
        "stream": receipt.stream,
        "status": receipt.status,
        "ending": receipt.ending,
        "ttft_ms": None if receipt.first_token is None else round(receipt.first_token * 1000, 2),
        "duration_ms": round(receipt.seconds * 1000, 2),
        "overhead_ms": round(receipt.overhead * 1000, 3),
        "tokens_in": usage.input,
        "tokens_out": usage.output,
        "tokens_cached": usage.cache_read,
        "estimated": usage.estimated,
        "cost_usd": receipt.cost / 1e6,
        "bytes_in": receipt.bytes_in,
        "bytes_out": receipt.bytes_out,
    }
    if len(receipt.attempts) > 1 or receipt.ending != "done":
        line["attempts"] = [attempt(one) for one in receipt.attempts]
    return line


def attempt(one: AttemptRecord) -> str:
    """`channel:why:outcome:ms`, and what it used: `channel:why:outcome:ms:in/out tokens:dollars`."""
    text = f"{one.channel}:{one.why}:{one.outcome}:{one.seconds * 1000:.0f}ms"
    if one.usage is None:
        return text
    return f"{text}:{one.usage.input or 0}/{one.usage.output or 0}:{one.cost / 1e6:.6f}"


def as_json(receipt: Receipt) -> bytes:
    """One JSON object and a line feed."""
    return orjson.dumps(fields(receipt), option=orjson.OPT_APPEND_NEWLINE)


def as_text(receipt: Receipt) -> bytes:
    """`key=value` pairs in the order of the JSON form."""
    pairs = (f"{name}={orjson.dumps(value).decode()}" for name, value in fields(receipt).items() if value is not None)
    return (" ".join(pairs) + "\n").encode()


RENDER = {"json": as_json, "text": as_text}


class AccessLog:
    """A sink for receipts, written by its own task."""

    def __init__(self, form: Literal["json", "text"], descriptor: int = 1) -> None:
        self.render = RENDER[form]
        self.descriptor = descriptor
        self.pending: list[Receipt] = []
        self.dropped = 0
        self._second = 0
        self._strangers = 0  # in that second

    def __call__(self, receipt: Receipt) -> None:
        """Take one receipt; never waits."""
        if len(self.pending) < MAX_PENDING and (receipt.status < 400 or self._takes(receipt)):
            self.pending.append(receipt)
        else:
            self.dropped += 1

    def _takes(self, refused: Receipt) -> bool:
        if refused.key_id != ANYONE.key_id or refused.status >= 500:
            return True
        second = int(refused.started)
        if second != self._second:
            self._second, self._strangers = second, 0
        self._strangers += 1
        return self._strangers <= STRANGERS_PER_SECOND

    async def run(self) -> None:
        """Write until cancelled, and what is left at the end."""
        try:
            while True:
                await trio.sleep(FLUSH_SECONDS)
                if self.pending:
                    await trio.to_thread.run_sync(self.write, self._take(), abandon_on_cancel=True)
        finally:
            self.write(self._take())

    def _take(self) -> list[Receipt]:
        taken, self.pending = self.pending, []
        return taken

    def write(self, receipts: list[Receipt]) -> None:
        """Render and write. A reader that has gone away costs the lines, and they are counted."""
        data = b"".join(map(self.render, receipts))
        try:
            while data:
                data = data[os.write(self.descriptor, data) :]
        except OSError:
            self.dropped += len(receipts)
