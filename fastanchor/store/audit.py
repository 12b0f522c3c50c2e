"""Proves the books: journals = ledger = balances.

    journals   every record that was folded stands in the ledger with the same amounts
    requests   what is held and spent in each account is what its requests say
    credits    what was granted in each account is what its credits say
    usage      the days' sums are what the accounts say was spent
    balances   what admission may spend is what the ledger says is available, where nothing is open
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from fastanchor.store.batch import bounded
from fastanchor.store.entries import SETTLED
from fastanchor.store.ledger import Ledger
from fastanchor.store.records import Credit, Open, Record, Settle, scan

MAX_PROBLEMS: Final = 1_000
PIECE: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Audit:
    """What was looked at, and what was wrong. `damaged` lines and `torn` bytes are losses, not contradictions."""

    problems: tuple[str, ...]
    segments: int
    records: int
    requests: int
    open: int
    damaged: int
    torn: int

    @property
    def sound(self) -> bool:
        return not self.problems


def verify(ledger: Ledger, balances: Mapping[str, int] | None = None) -> Audit:
    """Check the books. Raises StoreError.

    `balances` are what the shared table holds of organisations that have nothing open there. The check reads one state
    of the database, and of each journal as much as that state has folded.
    """
    problems = [f"database: {line}" for line in ledger.database.check()]
    with ledger.database.reading() as db:
        records = 0
        folded = _rows(db, "SELECT name, size FROM segment ORDER BY name")
        for name, size in folded:
            records += _check_segment(db, ledger.folder / name, size, problems)
        _check_accounts(db, problems)
        _check_balances(db, balances or {}, problems)
        ((requests, still_open),) = _rows(db, "SELECT count(*), ifnull(sum(state = 0), 0) FROM request")
        ((damaged, torn),) = _rows(db, "SELECT ifnull(sum(damaged), 0), ifnull(sum(torn), 0) FROM segment")
    return Audit(tuple(problems[:MAX_PROBLEMS]), len(folded), records, requests, still_open, damaged, torn)


def _rows(db: apsw.Connection, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
    return db.execute(query, values).fetchall()


def _check_segment(db: apsw.Connection, path: Path, size: int, problems: list[str]) -> int:
    """Compare one journal with the ledger. Returns how many records it holds; none when retention has removed it."""
    if not path.exists():
        return 0
    if path.stat().st_size < size:
        problems.append(f"{path.name}: is shorter than what was folded of it")
    ((expired,),) = _rows(db, "SELECT value FROM fact WHERE name = 'expired_before'")
    count = 0
    rest, left = b"", size
    with open(path, "rb") as file:
        while piece := file.read(min(PIECE, left)):
            left -= len(piece)
            found = scan(rest + piece)
            rest = (rest + piece)[found.size :]
            count += len(found.records)
            for record in found.records:
                problem = _check_record(db, record, expired)
                if problem:
                    problems.append(f"{path.name}: {problem}")
    return count


def _check_record(db: apsw.Connection, record: Record, expired: float) -> str:
    """What the ledger says otherwise, or nothing."""
    if isinstance(record, Credit):
        found = _rows(db, "SELECT organization, amount FROM credit WHERE id = ?", (record.id,))
        return "" if found == [(record.organization, record.amount)] else f"credit {record.id} is not in the ledger"
    if not isinstance(record, Open | Settle):
        return ""
    started = record.at if isinstance(record, Open) else record.started
    query = "SELECT state, reserved_cost, cost, metered, organization FROM request WHERE id = ?"
    row = next(iter(_rows(db, query, (record.id,))), None)
    if row is None:
        return "" if started < expired else f"request {record.id} is not in the ledger"
    state, reserved, cost, metered, organization = row
    if organization != record.organization or bool(metered) != record.metered:
        return f"request {record.id} belongs to somebody else in the ledger"
    if isinstance(record, Open):
        right = reserved in (bounded(record.cost), 0)
        return "" if right else f"request {record.id} reserved {record.cost}, in the ledger {reserved}"
    if state != SETTLED:
        return f"request {record.id} is settled, but not in the ledger"
    return "" if cost == bounded(record.cost) else f"request {record.id} cost {record.cost}, in the ledger {cost}"


_ACCOUNTS: Final = """
SELECT organization, granted, available, held, spent,
    (SELECT ifnull(sum(amount), 0) FROM credit c WHERE c.organization = a.organization),
    (SELECT ifnull(sum(reserved_cost), 0) FROM request r
     WHERE r.organization = a.organization AND metered AND state = 0),
    archived
    + (SELECT ifnull(sum(cost), 0) FROM request r WHERE r.organization = a.organization AND metered AND state > 0),
    (SELECT ifnull(sum(metered_cost), 0) FROM usage u WHERE u.organization = a.organization)
FROM account a
"""


def _check_accounts(db: apsw.Connection, problems: list[str]) -> None:
    for organization, granted, available, held, spent, credits, holds, costs, usage in _rows(db, _ACCOUNTS):
        for what, account, other, whose in (
            ("granted", granted, credits, "credits"),
            ("held", held, holds, "open requests"),
            ("spent", spent, costs, "settled requests"),
            ("spent", spent, usage, "usage"),
            ("granted", granted, available + held + spent, "available, held and spent together"),
        ):
            if account != other:
                problems.append(f"account {organization}: {what} {account}, but {whose} say {other}")
    query = "SELECT DISTINCT organization FROM request WHERE metered EXCEPT SELECT organization FROM account"
    problems += [f"account {name}: is missing" for (name,) in _rows(db, query)]


def _check_balances(db: apsw.Connection, balances: Mapping[str, int], problems: list[str]) -> None:
    for organization, balance in balances.items():
        row = _rows(db, "SELECT available, held FROM account WHERE organization = ?", (organization,))
        available, held = row[0] if row else (0, 0)
        if not held and available != balance:
            problems.append(f"account {organization}: available {available}, but admission may spend {balance}")
