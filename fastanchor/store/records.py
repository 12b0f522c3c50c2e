"""What a journal holds: the records, and their form on disk.

One record is one line (see `_speedups.line`): its length and its CRC-32 in eight hexadecimal digits each, and a JSON
array that starts with its kind. Records are written straight from what is known, and read back as structs. A line
that does not verify is damage and is passed over; a line without its end has not been written whole.

    00000061 5c1e0a77 ["open","req_…",1780000000.0,"k1","acme","gpt-4o",true,1200,5000]

Kinds: `open` before the first byte goes upstream, `try` when a further attempt starts, `settle` at the end, `probe`
when a failed journal tests whether it can be written again, `credit` when credits are given, so that a ledger can be
made again from journals alone. A request that went nowhere has a `settle` only.
Fields are positional, for speed: new ones come at the end of their kind and have a default.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

import msgspec

from fastanchor._speedups.line import line
from fastanchor._speedups.lines import verified
from fastanchor.core.receipt import AttemptRecord, Receipt
from fastanchor.core.usage import Usage

Counts: TypeAlias = tuple[int | None, int | None, int, int, int, int, int, int, int, int | None, bool]
"""The fields of `core.usage.Usage` in their order."""


class Open(msgspec.Struct, frozen=True, array_like=True, tag="open"):
    """A request was admitted and is about to go somewhere: its first attempt, at `channel` for the model `served`.
    `tokens` and `cost` (micro-dollars) are what it reserved."""

    id: str
    at: float  # unix seconds
    key: str
    organization: str
    model: str
    metered: bool
    tokens: int
    cost: int
    channel: str = ""
    served: str = ""


class Try(msgspec.Struct, frozen=True, array_like=True, tag="try"):
    """A further attempt was started."""

    id: str
    at: float
    channel: str
    model: str


class Tried(msgspec.Struct, frozen=True, array_like=True):
    """The fields of `core.receipt.AttemptRecord` in their order; the usage True where it is the request's."""

    channel: str
    model: str
    key: int
    why: str
    outcome: str
    status: int
    started: float
    seconds: float
    first_token: float | None
    usage: Counts | bool | None
    cost: int


class Settle(msgspec.Struct, frozen=True, array_like=True, tag="settle"):
    """A request has ended: when, whether credits pay for it, and the fields of `core.receipt.Receipt` in order."""

    at: float
    metered: bool
    id: str
    started: float
    dialect: str
    endpoint: str
    client: str
    key: str
    organization: str
    model: str
    served_model: str
    channel: str
    provider: str
    stream: bool
    status: int
    ending: str
    seconds: float
    first_token: float | None
    overhead: float
    usage: Counts
    cost: int
    bytes_in: int
    bytes_out: int
    attempts: list[Tried]

    def receipt(self) -> Receipt:
        """The receipt that was settled."""
        return Receipt(
            self.id, self.started, self.dialect, self.endpoint, self.client, self.key, self.organization, self.model,
            self.served_model, self.channel, self.provider, self.stream, self.status, self.ending, self.seconds,
            self.first_token, self.overhead, Usage(*self.usage), self.cost, self.bytes_in, self.bytes_out,
            tuple(_attempt(tried, self.usage) for tried in self.attempts),
        )


class Probe(msgspec.Struct, frozen=True, array_like=True, tag="probe"):
    """Means nothing; it could be written."""

    at: float


class Credit(msgspec.Struct, frozen=True, array_like=True, tag="credit"):
    """Credits were given to an organisation (or taken): micro-dollars, once per id."""

    id: str
    at: float
    organization: str
    amount: int
    reason: str


Record: TypeAlias = Open | Try | Settle | Probe | Credit

_DECODER: Final = msgspec.json.Decoder[Record](Record)


def open_line(
    id: str, at: float, key: str, organization: str, model: str, metered: bool, tokens: int, cost: int, channel: str,
    served: str,
) -> bytes:
    """The line of an `Open` record."""
    return line(("open", id, at, key, organization, model, metered, tokens, cost, channel, served))


def try_line(id: str, at: float, channel: str, model: str) -> bytes:
    """The line of a `Try` record."""
    return line(("try", id, at, channel, model))


def credit_line(id: str, at: float, organization: str, amount: int, reason: str) -> bytes:
    """The line of a `Credit` record."""
    return line(("credit", id, at, organization, amount, reason))


def probe_line(at: float) -> bytes:
    """The line of a `Probe` record."""
    return line(("probe", at))


def settle_line(receipt: Receipt, *, metered: bool, at: float) -> bytes:
    """The line of the `Settle` record of a receipt."""
    r, u = receipt, receipt.usage
    tried = [
        (a.channel, a.model, a.key, a.why, a.outcome, a.status, a.started, a.seconds, a.first_token,
         None if a.usage is None else True if a.usage is u else _counts(a.usage), a.cost)
        for a in r.attempts
    ]  # fmt: skip
    return line((
        "settle", at, metered, r.request_id, r.started, r.dialect, r.endpoint, r.client, r.key_id, r.organization,
        r.model, r.served_model, r.channel, r.provider, r.stream, r.status, r.ending, r.seconds, r.first_token,
        r.overhead, _counts(u), r.cost, r.bytes_in, r.bytes_out, tried,
    ))  # fmt: skip


def _counts(u: Usage) -> Counts:
    return (
        u.input, u.output, u.cache_read, u.cache_write, u.cache_write_1h, u.reasoning, u.audio_input, u.audio_output,
        u.searches, u.cost, u.estimated,
    )


def _attempt(t: Tried, request: Counts) -> AttemptRecord:
    counts = request if t.usage is True else t.usage or None
    return AttemptRecord(
        t.channel, t.model, t.key, t.why, t.outcome, t.status, t.started, t.seconds, t.first_token,
        None if counts is None else Usage(*counts), t.cost,
    )


class Scan(NamedTuple):
    """What a piece of a journal holds. `ends` are offsets behind each record, `size` behind the last whole line."""

    records: list[Record]
    ends: list[int]
    size: int
    damaged: int


def scan(data: bytes) -> Scan:
    """The records of all whole lines of `data`, which starts at the start of a line."""
    records: list[Record] = []
    ends: list[int] = []
    start = damaged = 0
    while (end := data.find(b"\n", start)) >= 0:
        payload = verified(data[start:end])
        record = None if payload is None else decode(payload)
        start = end + 1
        if record is None:
            damaged += 1
            continue
        records.append(record)
        ends.append(start)
    return Scan(records, ends, start, damaged)


def decode(payload: bytes) -> Record | None:
    """The record of a line's JSON, or None when it is none."""
    try:
        record: Record = _DECODER.decode(payload)
    except (msgspec.MsgspecError, ValueError):
        return None
    return record
