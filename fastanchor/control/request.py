"""One request to the control plane, read and answered whole.

The workers have identified the caller: they alone reach this process, over a unix socket in a private directory, and
tell who asks in `x-fastanchor-principal`, a field that they drop from what clients send.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from fastanchor.core.faults import Fault, Kind

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

JSON = b"application/json"
MAX_BODY = 1024 * 1024
PRINCIPAL = b"x-fastanchor-principal"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as the control plane must know. The operator's admin key has no organisation: `operator`."""

    key_id: str
    organization: str
    scopes: frozenset[str]

    @property
    def operator(self) -> bool:
        return self.key_id == "admin" and not self.organization


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: decoded path segments, query, body, and who asks (None where nobody had to say)."""

    method: str
    path: tuple[str, ...]
    query: dict[str, str]
    body: bytes
    caller: Caller | None

    def document(self) -> dict[str, Any]:
        """The body as a JSON object. Raises Fault(INVALID_REQUEST)."""
        try:
            document = orjson.loads(self.body or b"{}")
        except orjson.JSONDecodeError:
            raise Fault(Kind.INVALID_REQUEST, "The request body is not valid JSON.") from None
        if not isinstance(document, dict):
            raise Fault(Kind.INVALID_REQUEST, "The request body must be a JSON object.")
        return document

    def who(self) -> Caller:
        """The caller. Raises Fault(INVALID_API_KEY) when nobody was named."""
        if self.caller is None:
            raise Fault(Kind.INVALID_API_KEY)
        return self.caller


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    kind: bytes
    body: bytes


def told(document: object, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, JSON, orjson.dumps(document))


def refused(fault: Fault) -> Answer:
    """A fault in the OpenAI error shape, which every client of these paths reads."""
    error = {"message": fault.message, "type": fault.row.openai_type, "param": fault.param or None, "code": fault.code}
    return told({"error": error}, fault.status)


async def read(scope: Scope, receive: Receive) -> Asked:
    """The request behind an ASGI scope. Raises Fault(REQUEST_TOO_LARGE)."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise Fault(Kind.REQUEST_TOO_LARGE)
        if not message.get("more_body"):
            break
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = tuple(unquote(part) for part in raw.partition(b"?")[0].decode("latin-1").split("/")[1:])
    query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
    return Asked(scope["method"], path, query, body, _caller(scope))


def _caller(scope: Scope) -> Caller | None:
    for name, value in scope["headers"]:
        if name == PRINCIPAL:
            key_id, organization, scopes = orjson.loads(value)
            return Caller(key_id, organization, frozenset(scopes))
    return None
