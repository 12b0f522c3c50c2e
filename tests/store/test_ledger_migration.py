"""A ledger of an older schema is brought up to date with everything it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from fastanchor.store import reports
from fastanchor.store.audit import verify
from fastanchor.store.journal import Journal
from fastanchor.store.ledger import Account, Ledger
from fastanchor.store.migrations import ledger as schema
from fastanchor.store.records import settle_line
from tests.kit.receipts import STARTED, frame, opened, receipt

NOW = STARTED + 100
ATTEMPTS = (
    '[["backup","gpt-4o",0,"first","upstream_error",500,0.0,0.1,null,null,0],'
    '["main","gpt-4o",1,"next_channel","won",200,0.1,1.1,0.3,true,500]]'
)
BEGUN: dict[str, Any] = {
    "epoch": "0001-0-1", "metered": 1, "organization": "acme", "key": "k1", "model": "gpt-4o", "opened": STARTED,
    "reserved_tokens": 4_000, "reserved_cost": 9_000, "tries": '[[1780000000.0,"main","gpt-4o"]]',
}
SETTLED: dict[str, Any] = BEGUN | {
    "id": "settled", "state": 1, "ended": STARTED + 1.25, "cost": 500, "provider_cost": 480, "input": 90, "output": 50,
    "cache_read": 10, "cache_write": 3, "reasoning": 7, "estimated": 1, "status": 200, "ending": "done",
    "dialect": "openai_chat", "endpoint": "chat", "client": "10.0.0.1:5", "served_model": "mod\u00e8le",
    "channel": "main", "provider": "openai", "stream": 1, "seconds": 1.2, "first_token": None, "overhead": 0.00004,
    "bytes_in": 1_000, "bytes_out": 20_000, "attempts": ATTEMPTS,
}  # fmt: skip
OPEN: dict[str, Any] = BEGUN | {"id": "open", "state": 0, "tries": "[]"}
LOST: dict[str, Any] = BEGUN | {
    "id": "lost", "state": 2, "ended": NOW, "cost": 9_000, "ending": "worker_lost", "estimated": 1,
}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """The worker of the old ledger, alive."""
    journal = Journal(tmp_path / "journal", "0001-0-1")
    yield journal
    journal.close()


@pytest.fixture
def ledger(tmp_path: Path, journal: Journal) -> Iterator[Ledger]:
    """One that was written with the first schema."""
    db = apsw.Connection(str(tmp_path / "ledger.db"))
    db.execute(schema.STEPS[0])
    db.execute(f"PRAGMA application_id = {schema.APPLICATION}; PRAGMA user_version = 1")
    for row in (SETTLED, OPEN, LOST):
        db.execute(f"INSERT INTO request ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    db.execute("INSERT INTO account VALUES ('acme', 100000, 81500, 9000, 9500, 0)")
    db.execute("INSERT INTO credit VALUES ('start', 'acme', 100000, 'plan', 0)")
    day = int(STARTED) // 86_400
    db.execute("INSERT INTO usage VALUES (?, 'acme', 'k1', 'gpt-4o', 2, 1, 90, 50, 10, 3, 7, 9500, 9500)", (day,))
    db.close()
    ledger = Ledger(tmp_path / "ledger.db", tmp_path / "journal")
    yield ledger
    ledger.close()


def test_every_request_tells_what_it_told(ledger: Ledger) -> None:
    settled, lost, still_open = (reports.request(ledger, id) for id in ("settled", "lost", "open"))
    assert settled is not None
    plain = {name: value for name, value in SETTLED.items() if name not in ("epoch", "state", "tries", "attempts")}
    assert {name: settled[name] for name in plain} == plain
    assert settled["tries"] == [[STARTED, "main", "gpt-4o"]]
    assert [attempt["outcome"] for attempt in settled["attempts"]] == ["upstream_error", "won"]
    assert settled["attempts"][1]["usage"]["input"] == 90
    assert lost is not None
    assert (lost["state"], lost["ending"], lost["estimated"], lost["ended"], lost["cost"]) == (
        "settled_by_rule", "worker_lost", True, NOW, 9_000,
    )  # fmt: skip
    assert still_open is not None
    assert (still_open["state"], still_open["ended"], still_open["status"], still_open["tries"]) == (
        "open", None, None, [],
    )  # fmt: skip


def test_the_books_add_up_and_go_on(ledger: Ledger, journal: Journal) -> None:
    assert verify(ledger).problems == ()
    journal.note(settle_line(receipt("open"), metered=True, at=NOW))
    journal.note(settle_line(receipt("lost"), metered=True, at=NOW))
    journal.require(frame(opened("settled")))
    journal.note(settle_line(receipt("settled"), metered=True, at=NOW))
    ledger.fold(NOW)
    assert ledger.account("acme") == Account(100_000, 98_500, 0, 1_500)
    (sums,) = reports.usage(ledger)
    assert (sums["requests"], sums["failed"], sums["cost"]) == (3, 0, 1_500)
    assert verify(ledger).problems == ()


def test_what_a_dead_worker_left_open_is_still_found(ledger: Ledger, journal: Journal) -> None:
    journal.require(frame(opened("another")))
    journal.close()
    assert ledger.fold(NOW).lost == 2
    assert verify(ledger).problems == ()
