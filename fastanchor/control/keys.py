"""`/v1/organizations/{org}/api-keys`: keys made, listed, rotated and revoked over HTTP.

A key with the scope `admin` manages its own organisation's keys and cannot give more than it has; the operator's admin
key manages every organisation's. To others an organisation's keys do not exist.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from dataclasses import fields
from typing import Any

from fastanchor.control.request import Answer, Asked, told
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import Plan, Principal
from fastanchor.policy.grants import LIMITS, Grant
from fastanchor.store.keys import KeyInfo, KeyStore

LISTS = ("models", "endpoints", "addresses")
KNOWN = frozenset(
    ("name", "permissions", "scopes", "rate_limit", "limits", "plan", "expires", *LISTS)
)
DAY = 86_400.0

Find = Callable[[str], Principal | None]
"""The holder of a key id, to see that nobody grants more than they have."""


class Keys:
    """Answers for one key store; synchronous, called in a thread."""

    def __init__(self, store: KeyStore, find: Find, plans: Container[str] = ()) -> None:
        self.store = store
        self.find = find
        self.plans = plans

    def answer(self, asked: Asked) -> Answer:
        """Any request below an organisation's `api-keys`. Raises Fault."""
        organization, rest = asked.path[2], asked.path[4:]
        self._permit(asked, organization)
        match asked.method, rest:
            case "POST", ():
                return self._create(asked, organization)
            case "GET", ():
                return told({"object": "list", "data": [shown(info) for info in self.store.list(organization)]})
            case "GET", (id,):
                return told(shown(_found(self.store.get(id, organization))))
            case "DELETE", (id,):
                if not self.store.revoke(id, organization, now=time.time()):
                    raise Fault(Kind.NOT_FOUND, "There is no such key.")
                return told({"id": id, "object": "api_key", "deleted": True})
            case "POST", (id, "rotate"):
                return self._rotate(asked, organization, id)
        raise Fault(Kind.METHOD_NOT_ALLOWED)

    def _permit(self, asked: Asked, organization: str) -> None:
        caller = asked.who()
        if "admin" not in caller.scopes:
            raise Fault(Kind.PERMISSION_DENIED, "This key lacks the scope 'admin'.")
        if not caller.operator and caller.organization != organization:
            raise Fault(Kind.NOT_FOUND, "There is no such organization.")

    def _create(self, asked: Asked, organization: str) -> Answer:
        caller = asked.who()
        grantor = None if caller.operator else self.find(caller.key_id)
        if grantor is None and not caller.operator:
            raise Fault(Kind.PERMISSION_DENIED, "Only a key of the store or the operator can make keys.")
        wanted = grant(asked.document(), organization)
        if grantor is None and wanted.plan and wanted.plan not in self.plans:
            raise Fault(Kind.INVALID_REQUEST, "plan: there is no such plan.", param="plan")
        made = self.store.create(wanted, grantor=grantor, now=time.time())
        return told({**shown(made.info), "key": made.key}, 201)

    def _rotate(self, asked: Asked, organization: str, id: str) -> Answer:
        overlap = asked.document().get("overlap", DAY)
        if not isinstance(overlap, (int, float)) or isinstance(overlap, bool):
            raise Fault(Kind.INVALID_REQUEST, "overlap: expected a number of seconds.", param="overlap")
        made = self.store.rotate(id, organization, overlap=float(overlap), now=time.time())
        if made is None:
            raise Fault(Kind.NOT_FOUND, "There is no such key.")
        return told({**shown(made.info), "key": made.key})


def grant(document: dict[str, Any], organization: str) -> Grant:
    """What a request asks for. Unknown members are refused, so that nobody believes to have limited what is not.

    Raises:
        Fault: INVALID_REQUEST that names the member.
    """
    for member in document:
        if member not in KNOWN:
            raise Fault(Kind.INVALID_REQUEST, f"Unknown parameter: '{member[:100]}'.", param=member[:100])
    scopes = _texts(document, "permissions" if "permissions" in document else "scopes")
    name = document.get("name")
    if not isinstance(name, str):
        raise Fault(Kind.INVALID_REQUEST, "Missing required parameter: 'name'.", param="name")
    return Grant(
        name=name,
        organization=organization,
        scopes=None if scopes is None else frozenset(scopes),
        models=_texts(document, "models"),
        endpoints=_texts(document, "endpoints"),
        addresses=_texts(document, "addresses"),
        plan=_text(document, "plan"),
        limits=_limits(document, name),
        expires=_number(document, "expires"),
    )


def _limits(document: dict[str, Any], name: str) -> Plan | None:
    """The key's own limits; `rate_limit` is requests per minute."""
    limits: Any = document.get("limits") or {}
    if not isinstance(limits, dict) or any(key not in LIMITS for key in limits):
        raise Fault(Kind.INVALID_REQUEST, f"limits: expected some of {', '.join(LIMITS)}.", param="limits")
    if document.get("rate_limit") is not None:
        limits = {**limits, "requests_per_minute": document["rate_limit"]}
    for key, value in limits.items():
        if type(value) is not int or value < 0:
            raise Fault(Kind.INVALID_REQUEST, f"{key}: expected a whole number.", param=key)
    return Plan(name, **limits) if limits else None


def _texts(document: dict[str, Any], name: str) -> tuple[str, ...] | None:
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise Fault(Kind.INVALID_REQUEST, f"{name}: expected an array of strings.", param=name)
    return tuple(value)


def _text(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise Fault(Kind.INVALID_REQUEST, f"{name}: expected a string.", param=name)
    return value


def _number(document: dict[str, Any], name: str) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Fault(Kind.INVALID_REQUEST, f"{name}: expected unix seconds.", param=name)
    return float(value)


def _found(info: KeyInfo | None) -> KeyInfo:
    if info is None:
        raise Fault(Kind.NOT_FOUND, "There is no such key.")
    return info


def shown(info: KeyInfo) -> dict[str, Any]:
    """A key as it may be shown: everything but the key."""
    told_of = {f.name: getattr(info, f.name) for f in fields(info) if f.name != "scopes"}
    return {"object": "api_key", **told_of, "permissions": sorted(info.scopes)}
