"""What the ledger tells: usage by key, model and day, the log of requests, and both as files.

Nothing here changes anything. Times are unix seconds, costs micro-dollars; a period is from `since` to before `until`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Final, Literal

import msgspec

from fastanchor.core.receipt import AttemptRecord
from fastanchor.core.usage import Usage
from fastanchor.store.batch import bounded
from fastanchor.store.entries import BY_RULE, DAY, LOST
from fastanchor.store.ledger import Ledger
from fastanchor.store.records import Settle

GroupBy = Literal["key", "model", "day", "organization"]
Row = dict[str, Any]

SUMS: Final = (
    "requests", "failed", "input", "output", "cache_read", "cache_write", "reasoning", "cost", "metered_cost",
)
FIELDS: Final = (
    "id", "state", "metered", "organization", "key", "model", "opened", "ended", "reserved_tokens", "reserved_cost",
    "cost", "provider_cost", "input", "output", "cache_read", "cache_write", "reasoning", "estimated", "status",
    "ending", "dialect", "endpoint", "client", "served_model", "channel", "provider", "stream", "seconds",
    "first_token", "overhead", "bytes_in", "bytes_out", "tries", "attempts",
)
_COLUMNS: Final = (
    "id, state, metered, organization, key, model, opened, ended, reserved_tokens, reserved_cost, cost, first_channel,"
    " first_model, tries, told"
)
_UNKNOWN: Final[Row] = {
    "provider_cost": None, "input": None, "output": None, "cache_read": 0, "cache_write": 0, "reasoning": 0,
    "estimated": False, "status": None, "ending": "", "dialect": "", "endpoint": "", "client": "", "served_model": "",
    "channel": "", "provider": "", "stream": False, "seconds": None, "first_token": None, "overhead": None,
    "bytes_in": 0, "bytes_out": 0, "attempts": [],
}
"""What is told of a request that has no `settle` record."""
ATTEMPT: Final = tuple(field.name for field in fields(AttemptRecord))
USAGE: Final = tuple(field.name for field in fields(Usage))
COUNTED: Final = ("provider_cost", "input", "output", "cache_read", "cache_write", "reasoning")
SETTLE: Final = ("kind", *Settle.__struct_fields__)
CREDIT: Final = ("id", "organization", "amount", "reason", "at")
STATES: Final = ("open", "settled", "settled_by_rule")
FOREVER: Final = 253_402_300_799.0
MAX_ROWS: Final = 1_000
PAGE: Final = 1_000


def usage(
    ledger: Ledger, *, organization: str | None = None, key: str | None = None, model: str | None = None,
    since: float = 0.0, until: float = FOREVER, by: Sequence[GroupBy] = (),
) -> list[Row]:
    """Sums of settled requests, a row for each group (one row without groups). Whole days: those that `since` and
    `until` lie in are counted whole."""
    groups = [name for name in ("organization", "key", "model", "day") if name in by]
    sums = ", ".join(f"ifnull(sum({name}), 0)" for name in SUMS)
    where, values = _where(organization=organization, key=key, model=model)
    where += " AND day >= ? AND day < ?"
    values += [int(since) // DAY, -(-int(until) // DAY)]
    query = f"SELECT {', '.join([*groups, sums])} FROM usage WHERE {where}"  # noqa: S608 - names of ours
    if groups:
        query += f" GROUP BY {', '.join(groups)} ORDER BY {', '.join(groups)}"
    with ledger.database.reading() as db:
        rows = db.execute(query, values).fetchall()
    return [dict(zip((*groups, *SUMS), row, strict=True)) for row in rows]


def requests(
    ledger: Ledger, *, organization: str | None = None, key: str | None = None, model: str | None = None,
    since: float = 0.0, until: float = FOREVER, before: tuple[float, str] | None = None, limit: int = 100,
) -> list[Row]:
    """The log of requests, the latest first; `before` is the (opened, id) of the last row of the page before."""
    where, values = _where(organization=organization, key=key, model=model)
    where += " AND opened >= ? AND opened < ?"
    values += [since, until]
    if before is not None:
        where += " AND (opened, id) < (?, ?)"
        values += before
    order = f"ORDER BY opened DESC, id DESC LIMIT {max(0, min(limit, MAX_ROWS))}"
    query = f"SELECT {_COLUMNS} FROM request WHERE {where} {order}"  # noqa: S608 - names of ours
    with ledger.database.reading() as db:
        rows = db.execute(query, values).fetchall()
    return [_told(row) for row in rows]


def request(ledger: Ledger, id: str, organization: str | None = None) -> Row | None:
    """One request of the log, if it is that organisation's."""
    where, values = _where(id=id, organization=organization)
    query = f"SELECT {_COLUMNS} FROM request WHERE {where}"  # noqa: S608 - names of ours
    with ledger.database.reading() as db:
        row: Any = db.execute(query, values).fetchone()
    return None if row is None else _told(row)


def credits(ledger: Ledger, organization: str | None = None) -> list[Row]:
    """What was given to an organisation, or to all, the latest first."""
    where, values = _where(organization=organization)
    query = f"SELECT {', '.join(CREDIT)} FROM credit WHERE {where} ORDER BY at DESC LIMIT {MAX_ROWS}"  # noqa: S608
    with ledger.database.reading() as db:
        rows = db.execute(query, values).fetchall()
    return [dict(zip(CREDIT, row, strict=True)) for row in rows]


def credit(ledger: Ledger, id: str) -> Row | None:
    """One of them."""
    with ledger.database.reading() as db:
        row: Any = db.execute(f"SELECT {', '.join(CREDIT)} FROM credit WHERE id = ?", (id,)).fetchone()  # noqa: S608
    return None if row is None else dict(zip(CREDIT, row, strict=True))


def every_request(ledger: Ledger, **which: Any) -> Iterator[Row]:
    """All of the log, read page by page so that nothing else has to wait; arguments as of `requests`."""
    before = None
    while page := requests(ledger, before=before, limit=PAGE, **which):
        yield from page
        before = page[-1]["opened"], page[-1]["id"]


def as_json_lines(rows: Iterable[Row]) -> Iterator[bytes]:
    """One JSON object per line."""
    for row in rows:
        yield msgspec.json.encode(row) + b"\n"


def as_csv(rows: Iterable[Row]) -> Iterator[bytes]:
    """RFC 4180, with a header line; structures as JSON. A text that a spreadsheet would run as a formula is quoted
    with an apostrophe (OWASP, "CSV Injection")."""
    header: list[str] | None = None
    for row in rows:
        if header is None:
            header = list(row)
            yield _line(header)
        yield _line([_cell(value) for value in row.values()])


def _where(**equal: str | None) -> tuple[str, list[Any]]:
    given = {name: value for name, value in equal.items() if value is not None}
    return " AND ".join(["1", *(f"{name} = ?" for name in given)]), list(given.values())


def _told(row: tuple[Any, ...]) -> Row:
    """A request with everything that is known of it, in the order of FIELDS."""
    *plain, channel, model, tries, told = row
    found: Row = _UNKNOWN | dict(zip(FIELDS, plain, strict=False))
    found["state"], found["metered"] = STATES[found["state"]], bool(found["metered"])
    first = [[found["opened"], channel, model]] if channel else []
    found["tries"] = first + msgspec.json.decode(tries or b"[]")
    if told is not None:
        found |= _ending(told)
    elif found["state"] == STATES[BY_RULE]:
        found |= {"ending": LOST, "estimated": True}
    return {name: found[name] for name in FIELDS}


def _ending(told: bytes) -> Row:
    """What a `settle` record tells of how a request went."""
    values: Row = dict(zip(SETTLE, msgspec.json.decode(told), strict=False))
    counts: Row = dict(zip(USAGE, values["usage"], strict=False))
    counts["provider_cost"] = counts["cost"]
    counted: Row = {name: None if counts[name] is None else bounded(counts[name]) for name in COUNTED}
    plain = {name: values[name] for name in _UNKNOWN if name in values}
    counted["estimated"] = bool(counts["estimated"])
    return {**plain, **counted, "attempts": [_attempt(attempt, counted) for attempt in values["attempts"]]}


def _attempt(values: Sequence[Any], request: Row) -> Row:
    """An attempt with the names of its fields; one whose usage was the request's has that of its row."""
    attempt = dict(zip(ATTEMPT, values, strict=True))
    if attempt["usage"] is True:
        attempt["usage"] = {name: request[name] for name in USAGE if name in request and name != "cost"}
    elif attempt["usage"] is not None:
        attempt["usage"] = dict(zip(USAGE, attempt["usage"], strict=True))
    return attempt


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value


def _line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
