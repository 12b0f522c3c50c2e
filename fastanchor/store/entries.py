"""How what a batch says becomes rows of the ledger and movements of credits.

Requests that open and settle within one batch are written once, as they ended; of those that were known before only
what has changed is written. All that they move is added up first: a batch touches each account, and each day of usage,
once. A record that was taken before changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias

import apsw
import msgspec

from fastanchor.store.batch import Batch, Opened, Settled, Tried, begun
from fastanchor.store.records import Credit

Rule = Literal["estimate", "tried"]
"""What a request costs whose worker died: its reservation's estimate, or that only if an attempt had been started."""

OPEN, SETTLED, BY_RULE = 0, 1, 2
LOST: Final = "worker_lost"
DAY: Final = 86_400
_HIGHEST: Final = (1 << 62) - 1

_Day: TypeAlias = tuple[float, str, str, str, bool]
"""Since 1970, organization, key, model; whether credits pay."""

_ENCODE: Final = msgspec.json.Encoder().encode


def rows(db: apsw.Connection, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
    """All rows of a query."""
    return db.execute(query, values).fetchall()


def take(db: apsw.Connection, batch: Batch) -> set[str]:
    """Fold a batch. Returns the organisations whose accounts have changed.

    A request whose `open` is in the batch is taken to be new. Where one is not (its journal was written again), what
    was written so far is undone, and all of them are looked up.
    """
    given = {credit.organization for credit in batch.given if give(db, credit)}
    db.execute("SAVEPOINT requests")
    try:
        touched = _post(batch, _known(db, batch.unopened())).write(db)
    except apsw.ConstraintError:
        db.execute("ROLLBACK TO requests")
        touched = _post(batch, _known(db, batch.ids())).write(db)
    return touched | given


def give(db: apsw.Connection, credit: Credit) -> bool:
    """Give credits (or take them), once per id. Returns whether this was the first time."""
    values = credit.id, credit.organization, credit.amount, credit.reason, credit.at
    db.execute("INSERT OR IGNORE INTO credit VALUES (?, ?, ?, ?, ?)", values)
    if not db.changes():
        return False
    db.execute(_MOVE, (credit.organization, credit.amount, credit.amount, 0, 0))
    return True


def lose(db: apsw.Connection, epoch: str, now: float, rule: Rule) -> tuple[int, set[str]]:
    """Settle by rule what an epoch has left open. Returns how many requests, and whose accounts have changed."""
    postings = _Postings()
    lost = rows(db, f"{_ROW}, first_channel FROM request WHERE epoch = ? AND state = {OPEN}", (epoch,))
    for *row, channel in lost:
        postings.lose(row, now, estimate=rule == "estimate" or bool(channel) or row[-1] is not None)
    return len(lost), postings.write(db)


_ROW: Final = "SELECT id, state, metered, organization, key, model, opened, reserved_cost, cost, tries"


def _known(db: apsw.Connection, ids: set[str]) -> dict[str, Sequence[Any]]:
    """The rows of those requests that the ledger has, in the columns of `_ROW`."""
    if not ids:
        return {}
    query = f"{_ROW} FROM request WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - names of ours
    return {row[0]: row for row in rows(db, query, (_ENCODE(list(ids)).decode(),))}


def _post(batch: Batch, known: dict[str, Sequence[Any]]) -> _Postings:
    """What a batch adds to what is known of its requests."""
    postings = _Postings()
    settled, tried, epochs = batch.settled, batch.tried, batch.epochs
    for id, opened in batch.opened.items():
        if id not in known:
            postings.begin(opened, epochs[id], settled.get(id), tried.get(id) if tried else None)
    for id, row in known.items():
        postings.follow(row, settled.get(id), tried.get(id))
    for id in (batch.unopened() & settled.keys()) - known.keys():
        opening = begun(settled[id])
        if opening is not None:
            postings.begin(opening, "", settled[id], tried.get(id))
    return postings


class _Postings:
    """Rows to be written, and what they move."""

    def __init__(self) -> None:
        self._begun: list[tuple[Any, ...]] = []
        self._ended: list[tuple[Any, ...]] = []
        self._tried: list[tuple[str, str]] = []
        self._days: dict[_Day, list[Settled]] = defaultdict(list)
        self._usage: list[tuple[Any, ...]] = []
        self._held: dict[str, int] = defaultdict(int)  # by organisation
        self._spent: dict[str, int] = defaultdict(int)

    def begin(self, opened: Opened, epoch: str, settled: Settled | None, tried: list[Tried] | None) -> None:
        """A new request."""
        tries = None if tried is None else _told(dict.fromkeys(tried))
        _, at, key, organization, model, metered, _, reserved, _, _ = opened
        if settled is None:
            self._begun.append((*opened, epoch, OPEN, None, 0, tries, None))
            if metered:
                self._held[organization] += reserved
        else:
            self._begun.append((*opened, epoch, SETTLED, settled[0], settled[8], tries, settled[9]))
            self._days[at // DAY, organization, key, model, metered].append(settled)

    def follow(self, row: Sequence[Any], settled: Settled | None, tried: list[Tried] | None) -> None:
        """More of a request that has a row."""
        id, state, metered, organization, key, model, opened, reserved, cost, tries = row
        if tried:
            before = [tuple(entry) for entry in msgspec.json.decode(tries or b"[]")]
            if not set(before).issuperset(tried):
                self._tried.append((_told(dict.fromkeys([*before, *tried])), id))
        if settled is None or state == SETTLED:
            return
        day = opened // DAY, organization, key, model, metered
        if state == BY_RULE:
            self._undo(day, cost)
        elif metered:
            self._held[organization] -= reserved
        self._ended.append((SETTLED, settled[0], settled[8], settled[9], id))
        self._days[day].append(settled)

    def lose(self, row: Sequence[Any], now: float, *, estimate: bool) -> None:
        """An open request whose worker has died."""
        id, _, metered, organization, key, model, opened, reserved, _, _ = row
        cost = reserved if estimate else 0
        if metered:
            self._held[organization] -= reserved
        self._ended.append((BY_RULE, now, cost, None, id))
        self._days[opened // DAY, organization, key, model, metered].append(
            (now, id, LOST, 0, 0, 0, 0, 0, cost, None)
        )

    def _undo(self, day: _Day, cost: int) -> None:
        """Take back what the rule has charged."""
        when, organization, key, model, metered = day
        if metered:
            self._spent[organization] -= cost
        paid = cost if metered else 0
        self._usage.append((int(when), organization, key, model, -1, -1, 0, 0, 0, 0, 0, -cost, -paid))

    def _add_up(self) -> None:
        for (day, organization, key, model, metered), settled in self._days.items():
            _, _, endings, *counts, _ = zip(*settled, strict=True)
            sums = [min(sum(column), _HIGHEST) for column in counts]
            failed, cost = len(settled) - endings.count("done"), sums[-1]
            paid = cost if metered else 0
            if metered:
                self._spent[organization] += cost
            self._usage.append((int(day), organization, key, model, len(settled), failed, *sums, paid))

    def write(self, db: apsw.Connection) -> set[str]:
        """Returns the organisations whose accounts have changed. Raises apsw.ConstraintError when a new request is
        none."""
        self._add_up()
        touched = self._held.keys() | self._spent.keys()
        moved = [(name, self._held[name], self._spent[name]) for name in touched]
        for statement, values in (
            (_BEGIN, self._begun), (_END, self._ended), (_TRY, self._tried), (_USE, self._usage),
            (_MOVE, [(name, 0, -held - spent, held, spent) for name, held, spent in moved]),
        ):  # fmt: skip
            if values:
                db.executemany(statement, values)
        return touched


def _told(tried: Iterable[Tried]) -> str:
    return _ENCODE(list(tried)).decode()


_BEGIN: Final = f"""
INSERT INTO request (
    id, opened, key, organization, model, metered, reserved_tokens, reserved_cost, first_channel, first_model,
    epoch, state, ended, cost, tries, told
) VALUES ({', '.join('?' * 16)})
"""  # noqa: S608 - a text of ours
_END: Final = "UPDATE request SET state = ?, ended = ?, cost = ?, told = ? WHERE id = ?"
_TRY: Final = "UPDATE request SET tries = ? WHERE id = ?"
_USE: Final = f"""
INSERT INTO usage VALUES ({', '.join('?' * 13)})
ON CONFLICT (day, organization, key, model) DO UPDATE SET
    requests = requests + excluded.requests, failed = failed + excluded.failed, input = input + excluded.input,
    output = output + excluded.output, cache_read = cache_read + excluded.cache_read,
    cache_write = cache_write + excluded.cache_write, reasoning = reasoning + excluded.reasoning,
    cost = cost + excluded.cost, metered_cost = metered_cost + excluded.metered_cost
"""  # noqa: S608 - a text of ours
_MOVE: Final = """
INSERT INTO account (organization, granted, available, held, spent) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (organization) DO UPDATE SET
    granted = granted + excluded.granted, available = available + excluded.available, held = held + excluded.held,
    spent = spent + excluded.spent
"""
