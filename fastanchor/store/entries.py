"""How the records of a journal become rows of the ledger and movements of credits.

Most requests open and settle within one batch: they are written as whole rows, many in one statement, and what they
move is added up first. The others (open for longer, settled by rule, written twice) are taken record by record. Both
ways lead to the same books; a record that was taken before changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import add
from typing import Any, Final, Literal

import apsw
import msgspec

from fastanchor.store.records import Credit, Open, Probe, Record, Settle, Try

Rule = Literal["estimate", "tried"]
"""What a request costs whose worker died: its reservation's estimate, or that only if an attempt had been started."""

OPEN, SETTLED, BY_RULE = 0, 1, 2
LOST: Final = "worker_lost"
DAY: Final = 86_400
MOST: Final = 1 << 50

_ENCODE: Final = msgspec.json.Encoder().encode


def rows(db: apsw.Connection, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
    """All rows of a query."""
    return db.execute(query, values).fetchall()


def take(db: apsw.Connection, records: Sequence[Record], epoch: str, touched: set[str]) -> None:
    """Fold a batch of one epoch's records; adds the organisations whose accounts change to `touched`."""
    stories: dict[str, _Story] = {}
    for record in records:
        if isinstance(record, Credit):
            give(db, record, touched)
        elif not isinstance(record, Probe):
            story = stories.get(record.id)
            if story is None:
                story = stories[record.id] = _Story()
            story.add(record)
    query = "SELECT id FROM request WHERE id IN (SELECT value FROM json_each(?))"
    known = {id for (id,) in rows(db, query, (_ENCODE(list(stories)).decode(),))}
    whole: list[tuple[Open, list[Try], Settle]] = []
    for id, story in stories.items():
        told = story.whole()
        if told is None or id in known:
            for record in story.records:
                _take(db, record, epoch, touched)
        else:
            whole.append(told)
    if whole:
        _take_whole(db, whole, epoch, touched)


class _Story:
    """The records of one request, in their order."""

    __slots__ = ("records",)

    def __init__(self) -> None:
        self.records: list[Open | Try | Settle] = []

    def add(self, record: Open | Try | Settle) -> None:
        self.records.append(record)

    def whole(self) -> tuple[Open, list[Try], Settle] | None:
        """The story of a request that was opened once and settled once, in this order; else None."""
        first, *tries, last = self.records if len(self.records) > 1 else (None, None)
        if not isinstance(first, Open) or not isinstance(last, Settle) or first.metered != last.metered:
            return None
        starts = [entry for entry in tries if isinstance(entry, Try)]
        return (first, starts, last) if len(starts) == len(tries) else None


def _take_whole(
    db: apsw.Connection, stories: list[tuple[Open, list[Try], Settle]], epoch: str, touched: set[str]
) -> None:
    """Write requests that have begun and ended, and move what they cost."""
    db.executemany(_WHOLE, [_whole_row(*story, epoch) for story in stories])
    spent: dict[str, int] = defaultdict(int)
    days: dict[tuple[int, str, str, str], tuple[int, ...]] = {}
    for opened, _, settled in stories:
        cost = bounded(settled.cost)
        if opened.metered:
            spent[opened.organization] += cost
        day = (int(opened.at) // DAY, opened.organization, opened.key, opened.model)
        counts = _counts(settled, cost, opened.metered)
        so_far = days.get(day)
        days[day] = counts if so_far is None else tuple(map(add, so_far, counts))
    db.executemany(_ADD_UP, [(*day, *sums) for day, sums in days.items()])
    for organization, cost in spent.items():
        move(db, organization, available=-cost, spent=cost)
    touched.update(spent)


def _counts(settled: Settle, cost: int, metered: bool) -> tuple[int, ...]:
    """What a settled request adds to the usage of its day."""
    input, output, cache_read, cache_write, _, reasoning, *_ = settled.usage
    return (
        1, settled.ending != "done", bounded(input or 0), bounded(output or 0), bounded(cache_read),
        bounded(cache_write), bounded(reasoning), cost, cost if metered else 0,
    )


def _whole_row(opened: Open, tries: list[Try], settled: Settle, epoch: str) -> tuple[Any, ...]:
    return (
        opened.id, epoch, opened.metered, opened.organization, opened.key, opened.model, opened.at,
        bounded(opened.tokens), bounded(opened.cost), _starts(opened, tries), *_ending(settled),
    )


def _starts(opened: Open, tries: Iterable[Try] = ()) -> str:
    first = [[opened.at, opened.channel, opened.served]] if opened.channel else []
    return _ENCODE([*first, *([entry.at, entry.channel, entry.model] for entry in tries)]).decode()


def _ending(settled: Settle) -> tuple[Any, ...]:
    """The values of `_ENDING`."""
    input, output, cache_read, cache_write, _, reasoning, _, _, _, provider_cost, estimated = settled.usage
    return (
        settled.at, bounded(settled.cost), _count_of(provider_cost), _count_of(input), _count_of(output),
        bounded(cache_read), bounded(cache_write), bounded(reasoning), estimated, settled.status, settled.ending,
        settled.dialect, settled.endpoint, settled.client, settled.served_model, settled.channel, settled.provider,
        settled.stream, settled.seconds, settled.first_token, settled.overhead, settled.bytes_in, settled.bytes_out,
        _ENCODE(settled.attempts).decode(),
    )


_ENDING: Final = (
    "ended", "cost", "provider_cost", "input", "output", "cache_read", "cache_write", "reasoning", "estimated",
    "status", "ending", "dialect", "endpoint", "client", "served_model", "channel", "provider", "stream", "seconds",
    "first_token", "overhead", "bytes_in", "bytes_out", "attempts",
)
_BEGINNING: Final = (
    "id", "epoch", "metered", "organization", "key", "model", "opened", "reserved_tokens", "reserved_cost", "tries"
)
_NAMES: Final = ", ".join((*_BEGINNING, *_ENDING))
_PLACES: Final = "?, " * len(_BEGINNING + _ENDING)
_WHOLE: Final = f"INSERT INTO request ({_NAMES}, state) VALUES ({_PLACES}{SETTLED})"  # noqa: S608 - names of ours
_SETTLE: Final = (
    f"UPDATE request SET state = {SETTLED}, {', '.join(f'{name} = ?' for name in _ENDING)} WHERE id = ?"  # noqa: S608
)


def _take(db: apsw.Connection, record: Open | Try | Settle, epoch: str, touched: set[str]) -> None:
    """Fold one record."""
    if isinstance(record, Open):
        _open(db, record, epoch, touched)
    elif isinstance(record, Try):
        _try(db, record)
    else:
        _settle(db, record, epoch, touched)


def _open(db: apsw.Connection, record: Open, epoch: str, touched: set[str]) -> None:
    cost = bounded(record.cost)
    db.execute(
        "INSERT OR IGNORE INTO request (id, epoch, state, metered, organization, key, model, opened, reserved_tokens,"
        " reserved_cost, tries) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
        (record.id, epoch, record.metered, record.organization, record.key, record.model, record.at,
         bounded(record.tokens), cost, _starts(record)),
    )
    if db.changes() and record.metered:
        move(db, record.organization, available=-cost, held=cost)
        touched.add(record.organization)


def _try(db: apsw.Connection, record: Try) -> None:
    row: Any = db.execute("SELECT tries FROM request WHERE id = ?", (record.id,)).fetchone()
    if row is None:
        return
    tries: list[Any] = msgspec.json.decode(row[0])
    if (entry := [record.at, record.channel, record.model]) not in tries:
        told = _ENCODE([*tries, entry]).decode()
        db.execute("UPDATE request SET tries = ? WHERE id = ?", (told, record.id))


def _settle(db: apsw.Connection, record: Settle, epoch: str, touched: set[str]) -> None:
    row: Any = db.execute("SELECT state, reserved_cost, cost FROM request WHERE id = ?", (record.id,)).fetchone()
    if row is None:  # it went nowhere, or its `open` was lost with a torn journal: what it cost is known all the same
        _open(db, Open(record.id, record.started, record.key, record.organization, record.model, record.metered, 0, 0),
              epoch, touched)
        row = (OPEN, 0, 0)
    state, reserved, charged = row
    if state == SETTLED:
        return
    cost = bounded(record.cost)
    if record.metered:
        held = reserved if state == OPEN else 0
        move(db, record.organization, held=-held, available=held + charged - cost, spent=cost - charged)
        touched.add(record.organization)
    if state == BY_RULE:
        _count(db, record.id, -1)
    db.execute(_SETTLE, (*_ending(record), record.id))
    _count(db, record.id, 1)


def lose(db: apsw.Connection, id: str, now: float, rule: Rule, touched: set[str]) -> None:
    """Settle an open request by rule."""
    query = "SELECT organization, metered, reserved_cost, tries FROM request WHERE id = ?"
    ((organization, metered, reserved, tries),) = rows(db, query, (id,))
    cost = reserved if rule == "estimate" or tries != "[]" else 0
    if metered:
        move(db, organization, held=-reserved, available=reserved - cost, spent=cost)
        touched.add(organization)
    db.execute(
        f"UPDATE request SET state = {BY_RULE}, ended = ?, cost = ?, ending = ?, estimated = 1 WHERE id = ?",  # noqa: S608
        (now, cost, LOST, id),
    )
    _count(db, id, 1)


def give(db: apsw.Connection, credit: Credit, touched: set[str]) -> bool:
    """Give credits, once per id. Returns whether this was the first time."""
    values = credit.id, credit.organization, credit.amount, credit.reason, credit.at
    db.execute("INSERT OR IGNORE INTO credit VALUES (?, ?, ?, ?, ?)", values)
    if not db.changes():
        return False
    move(db, credit.organization, granted=credit.amount, available=credit.amount)
    touched.add(credit.organization)
    return True


def move(
    db: apsw.Connection, organization: str, *, granted: int = 0, available: int = 0, held: int = 0, spent: int = 0
) -> None:
    """Move credits of an organisation; the table refuses a movement that does not add up."""
    db.execute("INSERT INTO account (organization) VALUES (?) ON CONFLICT DO NOTHING", (organization,))
    db.execute(
        "UPDATE account SET granted = granted + ?, available = available + ?, held = held + ?, spent = spent + ?"
        " WHERE organization = ?",
        (granted, available, held, spent, organization),
    )


_GROW: Final = """
ON CONFLICT (day, organization, key, model) DO UPDATE SET
    requests = requests + excluded.requests, failed = failed + excluded.failed, input = input + excluded.input,
    output = output + excluded.output, cache_read = cache_read + excluded.cache_read,
    cache_write = cache_write + excluded.cache_write, reasoning = reasoning + excluded.reasoning,
    cost = cost + excluded.cost, metered_cost = metered_cost + excluded.metered_cost
"""
_ADD_UP: Final = f"INSERT INTO usage VALUES ({', '.join('?' * 13)}) {_GROW}"  # noqa: S608 - a text of ours
_COUNT: Final = f"""
INSERT INTO usage
SELECT CAST(opened AS INTEGER) / {DAY}, organization, key, model, :n, :n * (ending <> 'done'), :n * ifnull(input, 0),
       :n * ifnull(output, 0), :n * cache_read, :n * cache_write, :n * reasoning, :n * cost, :n * cost * metered
FROM request WHERE id = :id
{_GROW}"""  # noqa: S608 - the only things put in are ours


def _count(db: apsw.Connection, id: str, times: int) -> None:
    """Add a settled request to (or take it out of) the usage of its day."""
    db.execute(_COUNT, {"n": times, "id": id})


def bounded(count: int) -> int:
    """What the database can hold and add up: a provider may say anything."""
    if 0 <= count <= MOST:
        return count
    return 0 if count < 0 else MOST


def _count_of(count: int | None) -> int | None:
    return None if count is None else bounded(count)
