"""`/admin/credits`: the operator gives credits, or takes them, and sees what was given.

Each top-up has an id; the same id a second time changes nothing, so that a client that heard no answer may ask again.
"""

from __future__ import annotations

import secrets
from decimal import Decimal
from typing import Any

from fastanchor.control.request import Answer, Asked, told
from fastanchor.core.faults import Fault, Kind
from fastanchor.store import reports
from fastanchor.store.bookkeeper import Bookkeeper

MICRO = 1_000_000
MOST = 1_000_000_000
"""Dollars in one top-up, as far as anyone believes it."""
MAX_TEXT = 200
KNOWN = frozenset(("id", "organization", "amount_usd", "reason"))


class Credits:
    """Answers for one bookkeeper; synchronous, called in a thread."""

    def __init__(self, keeper: Bookkeeper) -> None:
        self.keeper = keeper

    def answer(self, asked: Asked) -> Answer:
        """Raises Fault, StoreError."""
        if not asked.who().operator:
            raise Fault(Kind.PERMISSION_DENIED, "Only the operator's admin key gives credits.")
        if asked.method == "GET":
            rows = reports.credits(self.keeper.ledger, asked.query.get("organization"))
            return told({"object": "list", "data": [shown(row) for row in rows]})
        if asked.method != "POST":
            raise Fault(Kind.METHOD_NOT_ALLOWED)
        done = self.add(asked.document())
        return told(done, 201 if done["applied"] else 200)

    def add(self, document: dict[str, Any]) -> dict[str, Any]:
        """Do what a document asks for. Returns the grant, and whether it was `applied` just now."""
        for member in document:
            if member not in KNOWN:
                raise Fault(Kind.INVALID_REQUEST, f"Unknown parameter: '{member[:100]}'.", param=member[:100])
        id = f"topup:{_text(document, 'id', secrets.token_hex(12))}"
        organization, reason = _text(document, "organization"), _text(document, "reason", "top-up")
        amount = micro(document.get("amount_usd"))
        first = self.keeper.top_up(id, organization, amount, reason)
        row = reports.credit(self.keeper.ledger, id)
        if row is None or (row["organization"], row["amount"]) != (organization, amount):
            raise Fault(Kind.INVALID_REQUEST, "This id belongs to another top-up.", param="id")
        return {**shown(row), "applied": first}


def micro(value: object) -> int:
    """Micro-dollars of an amount in dollars: a number, or a decimal text. Raises Fault(INVALID_REQUEST)."""
    wrong = Fault(Kind.INVALID_REQUEST, f"amount_usd: expected dollars, at most {MOST}, to the micro-dollar.",
                  param="amount_usd")
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 40:
        raise wrong
    try:
        amount = Decimal(str(value)) * MICRO
    except ArithmeticError:  # no number, or beyond every bound
        raise wrong from None
    if not amount.is_finite() or abs(amount) > MOST * MICRO or amount != amount.to_integral_value() or not amount:
        raise wrong
    return int(amount)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A grant of credits in dollars."""
    return {
        "object": "credit", "id": row["id"].removeprefix("topup:"), "organization": row["organization"],
        "amount_usd": row["amount"] / MICRO, "reason": row["reason"], "at": row["at"],
    }


def _text(document: dict[str, Any], name: str, otherwise: str = "") -> str:
    value = document.get(name, otherwise)
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT or not value.isprintable():
        raise Fault(Kind.INVALID_REQUEST, f"{name}: expected 1 to {MAX_TEXT} printable characters.", param=name)
    return value
