"""Who asks: the credential of a request, looked up by digest.

Rules:
- The same decision on every carrier: `Authorization: Bearer`, `x-api-key`, and on Gemini paths `x-goog-api-key` and
  `?key=`. Two different credentials on one request are refused.
- Keys are compared as keyed digests in a dictionary: no timing depends on a key's prefix, and no key is kept.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from urllib.parse import unquote_to_bytes

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import ANYONE, Principal
from fastanchor.core.snapshot import Snapshot
from fastanchor.wire.message import Request

ADMIN = Principal("admin", "admin", "", frozenset({"inference", "training", "models", "admin"}))
MAX_CREDENTIAL = 512


def credential(request: Request, *, gemini: bool) -> bytes | None:
    """The key that the request carries, or None.

    Raises:
        Fault: INVALID_API_KEY when carriers contradict each other or the scheme is not Bearer.
    """
    authorization, named = request.get(b"authorization"), request.get(b"x-api-key")
    borne = _borne(authorization) if authorization else b""
    if not gemini and not (borne and named):
        return borne or named or None
    found = {value for value in (borne, named, *(_googles(request) if gemini else ())) if value}
    if len(found) > 1:
        raise Fault(Kind.INVALID_API_KEY, "The request carries two different API keys.")
    return found.pop() if found else None


def _borne(authorization: bytes) -> bytes:
    """The bearer's token."""
    scheme, _, token = authorization.partition(b" ")
    if scheme != b"Bearer" and scheme.lower() != b"bearer":
        raise Fault(Kind.INVALID_API_KEY, "The Authorization header must be: Bearer YOUR_API_KEY")
    return token.strip(b" ")


def _googles(request: Request) -> list[bytes | None]:
    """What Gemini's clients send instead."""
    in_query = [unquote_to_bytes(p[4:]) for p in request.query.split(b"&") if p.startswith(b"key=")]
    return [request.get(b"x-goog-api-key"), *in_query]


def identify(
    request: Request, world: Snapshot, pepper: bytes, issued: Mapping[bytes, Principal], *, gemini: bool = False
) -> Principal:
    """The holder of the request's key: of the configuration, or `issued` by the store.

    Raises:
        Fault: INVALID_API_KEY for a missing, unknown or expired key, PERMISSION_DENIED for a foreign address.
    """
    if not world.auth and not (world.auto_auth and issued):
        return ADMIN if world.admin_digest and _is_operator(request, world, pepper) else ANYONE
    key = credential(request, gemini=gemini)
    if key is None or len(key) > MAX_CREDENTIAL:
        raise Fault(Kind.INVALID_API_KEY)
    digest = _digest(key, pepper)
    principal = ADMIN if digest == world.admin_digest else world.keys.get(digest) or issued.get(digest)
    if principal is None or (principal.expires is not None and principal.expires <= time.time()):
        raise Fault(Kind.INVALID_API_KEY)
    if principal.addresses and not _from(request.peer, principal.addresses):
        raise Fault(Kind.PERMISSION_DENIED, "This key may not be used from this address.")
    return principal


@lru_cache(maxsize=8)
def _keyed(pepper: bytes) -> blake2b:
    return blake2b(key=pepper, digest_size=16)


def digest(request: Request, pepper: bytes) -> bytes:
    """Of the key that a request carries, b"" when it carries none. Raises as `credential`."""
    key = credential(request, gemini=False)
    return b"" if key is None else _digest(key, pepper)


def _digest(key: bytes, pepper: bytes) -> bytes:
    found = _keyed(pepper).copy()  # half as dear as a new one
    found.update(key)
    return found.digest()


def _is_operator(request: Request, world: Snapshot, pepper: bytes) -> bool:
    """Whether a request to an open instance carries the admin key; whatever else it carries does not matter there."""
    try:
        key = credential(request, gemini=False)
    except Fault:
        return False
    return key is not None and len(key) <= MAX_CREDENTIAL and _digest(key, pepper) == world.admin_digest


def _from(peer: str, networks: tuple[str, ...]) -> bool:
    host = peer.rpartition(":")[0].strip("[]")
    try:
        address = ip_address(host)
    except ValueError:  # a unix socket has no address
        return False
    return any(address in ip_network(network) for network in networks)
