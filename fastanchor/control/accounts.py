"""`GET /v1/usage`, `GET /v1/credits`, and the log of single requests.

A key sees its own numbers, and what is left of its organisation's credits; with the scope `admin` it sees all keys of
its organisation. The operator's admin key sees every organisation, or the one it names. What belongs to others does not
exist.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

from fastanchor.control.request import Answer, Asked, Caller, told
from fastanchor.core.faults import Fault, Kind
from fastanchor.store import reports
from fastanchor.store.bodies import Bodies
from fastanchor.store.ledger import Ledger

MICRO = 1_000_000
GROUPS = get_args(reports.GroupBy)


class Accounts:
    """Answers from the ledger, and from bodies where the operator has them kept; synchronous, called in a thread."""

    def __init__(self, ledger: Ledger, bodies: Bodies | None = None) -> None:
        self.ledger = ledger
        self.bodies = bodies

    def usage(self, asked: Asked) -> Answer:
        """Sums over a period, grouped by any of key, model, day (and organization for the operator)."""
        caller = _reader(asked)
        by = tuple(word for word in asked.query.get("by", "").split(",") if word)
        for word in by:
            if word not in GROUPS:
                raise Fault(Kind.INVALID_REQUEST, f"by: expected some of {', '.join(GROUPS)}.", param="by")
        rows = reports.usage(
            self.ledger,
            organization=_organization(asked, caller),
            key=_key(asked, caller),
            model=asked.query.get("model"),
            since=moment(asked, "since", 0.0),
            until=moment(asked, "until", reports.FOREVER),
            by=by,  # type: ignore[arg-type]  # checked above
        )
        return told({"object": "list", "data": [_in_dollars(row) for row in rows]})

    def credits(self, asked: Asked) -> Answer:
        """What is left, held by open requests, and spent, in dollars."""
        organization = _organization(asked, _reader(asked))
        if organization is None:
            every = self.ledger.accounts()
            return told({"object": "list", "data": [_account(name, account) for name, account in every.items()]})
        account = self.ledger.account(organization)
        if account is None:
            return told({"object": "credits", "organization": organization, "metered": False})
        return told(_account(organization, account))

    def requests(self, asked: Asked) -> Answer:
        """The log, latest first; one request with its attempts when its id is in the path."""
        caller = _reader(asked)
        if "admin" not in caller.scopes:
            raise Fault(Kind.PERMISSION_DENIED, "This key lacks the scope 'admin'.")
        if len(asked.path) == 3:
            return told(self._one(asked.path[2], _organization(asked, caller)))
        rows = reports.requests(
            self.ledger,
            organization=_organization(asked, caller),
            key=asked.query.get("key"),
            model=asked.query.get("model"),
            since=moment(asked, "since", 0.0),
            until=moment(asked, "until", reports.FOREVER),
            limit=100,
        )
        return told({"object": "list", "data": rows})

    def _one(self, id: str, organization: str | None) -> dict[str, Any]:
        row = reports.request(self.ledger, id, organization)
        if row is None:
            raise Fault(Kind.NOT_FOUND, "There is no such request.")
        found = None if self.bodies is None else self.bodies.find(row["id"], row["opened"])
        return row if found is None else {**row, "bodies": found}


def _reader(asked: Asked) -> Caller:
    """Who asks, if it only asks."""
    if asked.method != "GET":
        raise Fault(Kind.METHOD_NOT_ALLOWED)
    return asked.who()


def _organization(asked: Asked, caller: Caller) -> str | None:
    """Whose numbers: the caller's own, or for the operator the one it names (None: all)."""
    named = asked.query.get("organization")
    if caller.operator:
        return named
    if named not in (None, caller.organization):
        raise Fault(Kind.PERMISSION_DENIED, "This key sees its own organization only.", param="organization")
    return caller.organization


def _key(asked: Asked, caller: Caller) -> str | None:
    """Which key's numbers: the caller's own, or for an admin the one it names (None: all of the organisation)."""
    named = asked.query.get("key")
    if "admin" in caller.scopes:
        return named
    if named not in (None, caller.key_id):
        raise Fault(Kind.PERMISSION_DENIED, "This key sees its own numbers only.", param="key")
    return caller.key_id


def moment(asked: Asked, name: str, otherwise: float) -> float:
    """A time in the query: unix seconds, or an ISO 8601 date (UTC). Raises Fault(INVALID_REQUEST)."""
    text = asked.query.get(name)
    if text is None:
        return otherwise
    if text.isascii() and text.isdigit() and len(text) < 12:
        return float(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Fault(Kind.INVALID_REQUEST, f"{name}: expected unix seconds or a date.", param=name) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _account(name: str, account: Any) -> dict[str, Any]:
    sums = {field: getattr(account, field) / MICRO for field in ("available", "held", "spent", "granted")}
    return {"object": "credits", "organization": name, "metered": True, "currency": "usd", **sums}


def _in_dollars(row: dict[str, Any]) -> dict[str, Any]:
    told_of = {name: value for name, value in row.items() if name not in ("cost", "metered_cost")}
    if "day" in told_of:
        told_of["day"] = datetime.fromtimestamp(told_of["day"] * 86_400, UTC).date().isoformat()
    return {**told_of, "cost_usd": row["cost"] / MICRO}
