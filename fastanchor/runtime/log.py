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

import msgspec
import trio

from fastanchor.core.principal import ANYONE
from fastanchor.core.receipt import AttemptRecord, Receipt

FLUSH_SECONDS = 0.25
MAX_PENDING = 20_000
MAX_VALUE = 256
STRANGERS_PER_SECOND = 100
"""Lines of requests that were refused before it was known who asks."""

_encode = msgspec.json.Encoder().encode


def configure(level: int = logging.INFO) -> None:
    """Send diagnostics of this process to stderr."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(process)d %(message)s", force=True
    )


@lru_cache(maxsize=16)
def _second(unix: int) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class Line(msgspec.Struct):
    """The access line's fields. Holds no key and no content."""

    ts: str
    request_id: str
    client: str
    key_id: str
    endpoint: str
    model: str
    channel: str
    served_model: str
    stream: bool
    status: int
    ending: str
    ttft_ms: float | None
    duration_ms: float
    overhead_ms: float
    tokens_in: int | None
    tokens_out: int | None
    tokens_cached: int
    estimated: bool
    cost_usd: float
    bytes_in: int
    bytes_out: int
    attempts: list[str] | msgspec.UnsetType = msgspec.UNSET


def line(receipt: Receipt) -> Line:
    """A receipt's line; it tells its attempts when there was more than one, or no good end."""
    r, usage = receipt, receipt.usage
    told = Line(
        f"{_second(int(r.started))}.{int(r.started * 1000) % 1000:03d}+00:00", r.request_id, r.client, r.key_id,
        r.endpoint, r.model[:MAX_VALUE], r.channel, r.served_model[:MAX_VALUE], r.stream, r.status, r.ending,
        None if r.first_token is None else round(r.first_token * 1000, 2), round(r.seconds * 1000, 2),
        round(r.overhead * 1000, 3), usage.input, usage.output, usage.cache_read, usage.estimated, r.cost / 1e6,
        r.bytes_in, r.bytes_out,
    )  # fmt: skip
    if len(r.attempts) > 1 or r.ending != "done":
        told.attempts = [attempt(one) for one in r.attempts]
    return told


def attempt(one: AttemptRecord) -> str:
    """`channel:why:outcome:ms`, and what it used: `channel:why:outcome:ms:in/out tokens:dollars`."""
    text = f"{one.channel}:{one.why}:{one.outcome}:{one.seconds * 1000:.0f}ms"
    if one.usage is None:
        return text
    return f"{text}:{one.usage.input or 0}/{one.usage.output or 0}:{one.cost / 1e6:.6f}"


def as_json(receipt: Receipt) -> bytes:
    """One JSON object and a line feed."""
    told = line(receipt)
    try:
        return _encode(told) + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, in a name that a client made up
        return _encode(msgspec.convert(_readable(told), Line)) + b"\n"


def as_text(receipt: Receipt) -> bytes:
    """`key=value` pairs in the order of the JSON form."""
    told = _readable(line(receipt)).items()
    return (" ".join(f"{n}={_encode(value).decode()}" for n, value in told if value is not None) + "\n").encode()


def _readable(told: Line) -> dict[str, Any]:
    """The fields that are set, with text that can be written."""
    values = msgspec.structs.asdict(told)
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in values.items()
        if value is not msgspec.UNSET
    }


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
