"""What pieces of journals say, by request: its `open`, `try` and `settle` brought together, wherever they stand.

Ordinary lines are taken apart by `_speedups.lines` and never become records; the others are decoded, and end in the
same tuples. Counts are bounded by what the ledger can hold and add up: a provider may say anything.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from fastanchor._speedups.lines import Shape, lines
from fastanchor.store.records import Credit, Open, Settle, Try, decode

MOST: Final = 1 << 50

Opened: TypeAlias = tuple[str, float, str, str, str, bool, int, int, str, str]
"""id, at, key, organization, model, metered, reserved tokens and cost, channel and model of the first attempt."""
Settled: TypeAlias = tuple[float, str, str, int, int, int, int, int, int, bytes | None]
"""When it ended, id, how it ended, input, output, cache_read, cache_write, reasoning, cost, the record as JSON."""
Tried: TypeAlias = tuple[float, str, str]
"""When a further attempt started, its channel and model."""

_OPEN: Final[Shape] = (b"open", "sfsssbnnss*")
_SETTLE: Final[Shape] = (b"settle", f"fxs{'x' * 12}sxxx[nnnnxnxxxxx]n*=")  # usage as in `records.Counts`


class Piece(NamedTuple):
    """What was read: how many records, as how many bytes of whole lines, and how many lines did not verify."""

    records: int
    size: int
    damaged: int


class Batch:
    """The records of any number of pieces. Of two with the same id and kind the later is kept: they are the same, for
    only a record that was written again stands in journals twice."""

    __slots__ = ("epochs", "given", "opened", "settled", "tried")

    def __init__(self) -> None:
        self.opened: dict[str, Opened] = {}
        self.epochs: dict[str, str] = {}  # of the journals in which they were opened
        self.settled: dict[str, Settled] = {}
        self.tried: dict[str, list[Tried]] = {}
        self.given: list[Credit] = []

    def add(self, data: bytes, epoch: str) -> Piece:
        """Take in a piece of a journal, which starts at the start of a line."""
        found = lines(data, _OPEN, _SETTLE)
        opened, settled = found.apart
        damaged = sum(not self._decoded(payload, epoch) for payload in found.rest)
        told = {entry[0]: entry for entry in opened}
        self.opened |= told
        self.epochs |= dict.fromkeys(told, epoch)
        self.settled |= {entry[1]: entry for entry in settled}
        return Piece(
            len(opened) + len(settled) + len(found.rest) - damaged, found.size, found.damaged + damaged
        )

    def unopened(self) -> set[str]:
        """Requests that the batch tells something of, but not how they began."""
        return (self.settled.keys() | self.tried.keys()) - self.opened.keys()

    def ids(self) -> set[str]:
        """All requests that the batch tells something of."""
        return self.settled.keys() | self.tried.keys() | self.opened.keys()

    def _decoded(self, payload: bytes, epoch: str) -> bool:
        """Take in the JSON of a line that is not ordinary. Returns whether it is a record."""
        record = decode(payload)
        if isinstance(record, Open):
            self.opened[record.id] = _opened(record)
            self.epochs[record.id] = epoch
        elif isinstance(record, Settle):
            self.settled[record.id] = _settled(record, payload)
        elif isinstance(record, Try):
            self.tried.setdefault(record.id, []).append((record.at, record.channel, record.model))
        elif isinstance(record, Credit):
            self.given.append(record)
        return record is not None


def begun(settled: Settled) -> Opened | None:
    """How a request began of which nothing but its end is known: it went nowhere, or its `open` was lost with a torn
    journal. What it cost is known all the same. None for a record that is none after all."""
    record = decode(settled[-1] or b"")
    if not isinstance(record, Settle):
        return None
    return (
        record.id, record.started, record.key, record.organization, record.model, record.metered, 0, 0, "", "",
    )  # fmt: skip


def _opened(record: Open) -> Opened:
    return (
        record.id, record.at, record.key, record.organization, record.model, record.metered, bounded(record.tokens),
        bounded(record.cost), record.channel, record.served,
    )  # fmt: skip


def _settled(record: Settle, payload: bytes) -> Settled:
    input, output, cache_read, cache_write, _, reasoning, *_ = record.usage
    return (
        record.at, record.id, record.ending, bounded(input or 0), bounded(output or 0), bounded(cache_read),
        bounded(cache_write), bounded(reasoning), bounded(record.cost), payload,
    )  # fmt: skip


def bounded(count: int) -> int:
    """A count within what the ledger holds."""
    if 0 <= count <= MOST:
        return count
    return 0 if count < 0 else MOST
