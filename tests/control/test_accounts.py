"""Usage, credits and the log of requests: everybody's own, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastanchor.core.principal import Principal
from fastanchor.store.journal import Journal, new_epoch
from fastanchor.store.limiter import organization_owner
from fastanchor.store.records import settle_line
from tests.control.asgi import OPERATOR, PLANS, RUNNING, Desk
from tests.kit.receipts import STARTED, frame, opened, receipt

USER = ["k1", "acme", ["inference"]]
ADMIN = ["k9", "acme", ["admin"]]
OTHER = ["k5", "other", ["admin"]]
HOLDERS = [
    Principal("k1", "k1", "acme", plan=PLANS["paid"]), Principal("k5", "k5", "other", plan=PLANS["paid"])
]  # fmt: skip


@pytest.fixture
def office(office: Desk, tmp_path: Path) -> Desk:
    """Two requests of k1 and one of k2 in acme, one of k5 in another organisation; 500 micro-dollars each."""
    office.keeper.expect(HOLDERS)
    journal = Journal(tmp_path / "journal", new_epoch(0))
    for number, (key, organization) in enumerate([("k1", "acme"), ("k1", "acme"), ("k2", "acme"), ("k5", "other")]):
        id = f"req_{number}"
        journal.require(frame(opened(id, key=key, organization=organization)))
        journal.note(settle_line(receipt(id, key_id=key, organization=organization), metered=True, at=STARTED + 1))
    journal.close()
    assert office.keeper.step()
    return office


@pytest.mark.parametrize(
    ("caller", "query", "requests"),
    [
        (USER, "", 2), (USER, "?key=k1", 2), (ADMIN, "", 3), (ADMIN, "?key=k2", 1), (OTHER, "", 1),
        (OTHER, "?key=k1", 0), (OPERATOR, "", 4), (OPERATOR, "?organization=acme", 3), (USER, "?model=gpt-5", 0),
        (USER, "?since=2030-01-01", 0), (USER, f"?since={int(STARTED)}&until={int(STARTED) + 1}", 2),
    ],
)  # fmt: skip
async def test_usage_is_the_callers_own(office: Desk, caller: list[object], query: str, requests: int) -> None:
    status, page = await office.ask("GET", f"/v1/usage{query}", caller)
    assert status == 200
    (row,) = page["data"]
    assert row["requests"] == requests
    assert row["cost_usd"] == requests * 0.0005
    assert row["input"] == requests * 90
    assert "cost" not in row


async def test_usage_by_groups(office: Desk) -> None:
    rows = (await office.ask("GET", "/v1/usage?by=key,model,day", ADMIN))[1]["data"]
    assert [(row["key"], row["model"], row["day"], row["requests"]) for row in rows] == [
        ("k1", "gpt-4o", "2026-05-28", 2), ("k2", "gpt-4o", "2026-05-28", 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("caller", "target", "status"),
    [
        (USER, "/v1/usage?key=k2", 403), (USER, "/v1/usage?organization=other", 403),
        (ADMIN, "/v1/usage?organization=other", 403), (ADMIN, "/v1/credits?organization=other", 403),
        (USER, "/admin/requests", 403), (USER, "/admin/channels", 403), (ADMIN, "/admin/channels", 403),
        (USER, "/admin/credits", 403), (ADMIN, "/admin/credits", 403), (None, "/v1/usage", 401),
        (None, "/v1/credits", 401), (None, "/admin/requests", 401), (None, "/admin/channels", 401),
        (None, "/admin/credits", 401), (None, "/v1/organizations/acme/api-keys", 401), (OPERATOR, "/admin/", 404),
        (OPERATOR, "/admin/nothing", 404), (USER, "/v1/usage?by=secret", 400), (USER, "/v1/usage?since=soon", 400),
    ],
)  # fmt: skip
async def test_what_is_refused(office: Desk, caller: list[object] | None, target: str, status: int) -> None:
    found, answer = await office.ask("GET", target, caller)
    assert found == status
    assert answer["error"]["code"]


async def test_reading_is_all_that_can_be_done(office: Desk) -> None:
    for target in ("/v1/usage", "/v1/credits", "/admin/requests"):
        assert (await office.ask("POST", target, OPERATOR, {}))[0] == 405


async def test_credits(office: Desk) -> None:
    for caller in (USER, ADMIN):
        account = (await office.ask("GET", "/v1/credits", caller))[1]
        assert account["available"] == 5.0 - 0.0015
        assert (account["granted"], account["held"], account["spent"]) == (5.0, 0.0, 0.0015)
    every = (await office.ask("GET", "/v1/credits", OPERATOR))[1]["data"]
    assert [account["organization"] for account in every] == ["acme", "other"]
    nobody = ["x", "unmetered", ["inference"]]
    assert (await office.ask("GET", "/v1/credits", nobody))[1]["metered"] is False


async def test_the_log_shows_the_attempts(office: Desk) -> None:
    rows = (await office.ask("GET", "/admin/requests", ADMIN))[1]["data"]
    assert {row["id"] for row in rows} == {"req_0", "req_1", "req_2"}
    row = (await office.ask("GET", "/admin/requests/req_1", ADMIN))[1]
    assert [attempt["channel"] for attempt in row["attempts"]] == ["backup", "main"]
    assert (await office.ask("GET", "/admin/requests?key=k2", ADMIN))[1]["data"][0]["id"] == "req_2"


async def test_requests_of_others_do_not_exist(office: Desk) -> None:
    theirs = await office.raw("GET", "/admin/requests/req_3", ADMIN, b"")
    nobodys = await office.raw("GET", "/admin/requests/req_x", ADMIN, b"")
    assert theirs == nobodys
    assert theirs[0] == 404
    assert (await office.ask("GET", "/admin/requests/req_3", OPERATOR))[0] == 200


async def test_a_top_up_counts_once(office: Desk) -> None:
    grant = {"id": "invoice-7", "organization": "acme", "amount_usd": 2.5, "reason": "invoice 7"}
    first = await office.ask("POST", "/admin/credits", OPERATOR, grant)
    again = await office.ask("POST", "/admin/credits", OPERATOR, grant)
    assert (first[0], first[1]["applied"]) == (201, True)
    assert (again[0], again[1]["applied"]) == (200, False)
    account = (await office.ask("GET", "/v1/credits", USER))[1]
    assert account["granted"] == 7.5
    assert office.table.balance(organization_owner("acme")) == 7_500_000 - 1_500
    other = await office.ask("POST", "/admin/credits", OPERATOR, {**grant, "amount_usd": 3})
    assert (other[0], other[1]["error"]["param"]) == (400, "id")
    listed = (await office.ask("GET", "/admin/credits?organization=acme", OPERATOR))[1]["data"]
    assert [row["id"] for row in listed] == ["invoice-7", "plan:paid:acme"]


@pytest.mark.parametrize(
    "amount",
    [None, 0, "", "5 dollars", True, [], {}, 1e308, "NaN", "Infinity", "-inf", 10**10, 0.0000001, "1e99999999"],
)
async def test_an_amount_that_is_none_is_refused(office: Desk, amount: object) -> None:
    answer = await office.ask("POST", "/admin/credits", OPERATOR, {"organization": "acme", "amount_usd": amount})
    assert answer[0] == 400
    assert answer[1]["error"]["param"] == "amount_usd"
    assert (await office.ask("GET", "/v1/credits", USER))[1]["granted"] == 5.0


@pytest.mark.parametrize("amount", [0.1, "0.1", 100, "1e3", -2, 0.000001])
async def test_amounts_are_exact(office: Desk, amount: object) -> None:
    answer = await office.ask("POST", "/admin/credits", OPERATOR, {"organization": "acme", "amount_usd": amount})
    assert answer[0] == 201
    granted = office.keeper.ledger.account("acme")
    assert granted is not None
    assert granted.granted == 5_000_000 + round(float(str(amount)) * 1_000_000)


async def test_only_known_members_are_taken(office: Desk) -> None:
    body = {"organization": "acme", "amount_usd": 1, "amount": 5}
    assert (await office.ask("POST", "/admin/credits", OPERATOR, body))[0] == 400


async def test_a_ledger_that_cannot_be_used_costs_its_pages_a_503(office: Desk, tmp_path: Path) -> None:
    office.keeper.close()
    (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)
    for target in ("/v1/usage", "/v1/credits", "/admin/requests"):
        assert (await office.ask("GET", target, OPERATOR))[0] == 503
    assert (await office.ask("GET", "/v1/organizations/acme/api-keys", OPERATOR))[0] == 200


async def test_metrics_tell_of_the_books(office: Desk) -> None:
    page = (await office.raw("GET", "/metrics", None, b""))[1].decode()
    assert "fastanchor_ledger_up 1.0" in page
    assert "fastanchor_ledger_records_total 10.0" in page  # four requests, two grants
    assert "fastanchor_ledger_behind_bytes 0.0" in page
    office.keeper.trouble = "gone"
    assert "fastanchor_ledger_up 0.0" in (await office.raw("GET", "/metrics", None, b""))[1].decode()


@pytest.mark.parametrize(
    ("caller", "id", "status"),
    [
        (OPERATOR, RUNNING, 200), (OPERATOR, "req_0", 404), (ADMIN, RUNNING, 403), (USER, RUNNING, 403),
        (None, RUNNING, 401),
    ],
)  # fmt: skip
async def test_only_the_operator_ends_a_request(
    office: Desk, caller: list[object] | None, id: str, status: int
) -> None:
    assert (await office.ask("DELETE", f"/admin/requests/{id}", caller))[0] == status
