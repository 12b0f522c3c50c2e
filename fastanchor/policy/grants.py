"""What a key may pass on: a new key's rights are a part of the rights of the key that makes it.

Rules:
- What a request leaves out is the grantor's own; what it names must lie within it. Wider in any respect is refused,
  and nothing is cut silently.
- Only the operator (no grantor) chooses organisation and plan freely; a key gives its own.
- The scope `admin` is needed, and holds all the others.
- A pattern lies within another when it is the same, or a plain name that the other matches, or both are plain up to a
  last `*` and the other's start is a start of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import UNLIMITED, Plan, Principal

SCOPES: Final = frozenset({"inference", "training", "models", "admin"})
LIMITS: Final = tuple(
    f.name for f in fields(Plan) if f.name.startswith(("requests_", "tokens_", "concurrent_", "max_tokens_"))
)
MOST: Final = 1 << 40
MAX_NAME: Final = 200
MAX_ENTRIES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Grant:
    """A key to be made. None: the grantor's own (an operator's: everything); of scopes, inference."""

    name: str
    organization: str | None = None
    scopes: frozenset[str] | None = None
    models: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    plan: str | None = None
    limits: Plan | None = None
    expires: float | None = None  # unix seconds
    addresses: tuple[str, ...] | None = None  # networks in CIDR form


def checked(grant: Grant, now: float) -> Grant:
    """The grant with its networks in one form. Raises Fault(INVALID_REQUEST) for what makes no sense by itself."""
    if not grant.name or len(grant.name) > MAX_NAME or not grant.name.isprintable():
        raise _wrong("name", f"expected 1 to {MAX_NAME} printable characters")
    if grant.scopes is not None and (not grant.scopes or not grant.scopes <= SCOPES):
        raise _wrong("scopes", f"expected some of {', '.join(sorted(SCOPES))}")
    for name in ("models", "endpoints", "addresses"):
        entries = getattr(grant, name)
        if entries is not None and (len(entries) > MAX_ENTRIES or any(not e or len(e) > MAX_NAME for e in entries)):
            raise _wrong(name, f"expected at most {MAX_ENTRIES} entries of 1 to {MAX_NAME} characters")
    if grant.limits is not None:
        for name in LIMITS:
            if not 0 <= getattr(grant.limits, name) < MOST:
                raise _wrong(name, f"expected a number from 0 to {MOST - 1}")
    if grant.expires is not None and not now < grant.expires < 1e12:
        raise _wrong("expires", "expected a time in the future")
    if grant.addresses is None:
        return grant
    return replace(grant, addresses=tuple(str(_network(text)) for text in grant.addresses))


def by_operator(grant: Grant) -> Grant:
    """The grant with an operator's defaults."""
    return replace(
        grant,
        organization=grant.organization or "default",
        scopes=grant.scopes or frozenset({"inference"}),
        models=grant.models or (),
        endpoints=grant.endpoints or (),
        plan=grant.plan or "",
        addresses=grant.addresses or (),
    )


def by_key(grant: Grant, grantor: Principal) -> Grant:
    """The grant as this key may make it.

    Raises:
        Fault: PERMISSION_DENIED, naming the first field that is wider than the grantor's.
    """
    if "admin" not in grantor.scopes:
        raise Fault(Kind.PERMISSION_DENIED, "This key lacks the scope 'admin'.")
    if grant.organization not in (None, grantor.organization):
        raise _denied("organization")
    plan = "" if grantor.plan == UNLIMITED else grantor.plan.name
    if grant.plan not in (None, plan):
        raise _denied("plan")
    return replace(
        grant,
        organization=grantor.organization,
        scopes=grant.scopes or frozenset({"inference"}),
        models=_patterns("models", grant.models, grantor.models),
        endpoints=_patterns("endpoints", grant.endpoints, grantor.endpoints),
        plan=plan,
        limits=_limits(grant.limits, grantor.limits),
        expires=_expires(grant.expires, grantor.expires),
        addresses=_addresses(grant.addresses, grantor.addresses),
    )


def _patterns(name: str, asked: tuple[str, ...] | None, own: tuple[str, ...]) -> tuple[str, ...]:
    if asked is None or not own:
        return own if asked is None else asked
    if not asked or not all(any(_within(pattern, other) for other in own) for pattern in asked):
        raise _denied(name)
    return asked


def _within(pattern: str, other: str) -> bool:
    if pattern == other:
        return True
    if not _wild(pattern):
        return fnmatchcase(pattern, other)
    start, other_start = pattern.removesuffix("*"), other.removesuffix("*")
    plain = not _wild(start) and not _wild(other_start) and other.endswith("*") and pattern.endswith("*")
    return plain and start.startswith(other_start)


def _wild(pattern: str) -> bool:
    return any(character in pattern for character in "*?[")


def _limits(asked: Plan | None, own: Plan | None) -> Plan | None:
    """The key's own limits; every one that the grantor has must be kept or narrowed."""
    if own is None or asked is None:
        return own if asked is None else asked
    merged = asked
    for name in LIMITS:
        mine, theirs = getattr(own, name), getattr(asked, name)
        if mine and not theirs:
            merged = replace(merged, **{name: mine})
        elif mine and theirs > mine:
            raise _denied(name)
    return merged


def _expires(asked: float | None, own: float | None) -> float | None:
    if asked is not None and own is not None and asked > own:
        raise _denied("expires")
    return own if asked is None else asked


def _addresses(asked: tuple[str, ...] | None, own: tuple[str, ...]) -> tuple[str, ...]:
    if asked is None or not own:
        return own if asked is None else asked
    if not asked or not all(any(_inside(network, other) for other in own) for network in asked):
        raise _denied("addresses")
    return asked


def _inside(network: str, other: str) -> bool:
    inner, outer = ip_network(network), ip_network(other)
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network):
        return inner.subnet_of(outer)
    return False


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise _wrong("addresses", 'expected networks such as "10.0.0.0/8"') from None


def _wrong(field: str, expected: str) -> Fault:
    return Fault(Kind.INVALID_REQUEST, f"{field}: {expected}.", param=field)


def _denied(field: str) -> Fault:
    return Fault(Kind.PERMISSION_DENIED, f"This key cannot grant more than it has: {field}.", param=field)
