"""The way from the data plane to the control process: a plain reverse proxy over its unix socket.

Users see one port. The worker says who asks, and the control process takes its word. A control process that is down
costs its own pages a 503 and nothing else.
"""

from __future__ import annotations

import orjson

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import Principal
from fastanchor.dialects.registry import dialect
from fastanchor.engine.gateway import Gateway
from fastanchor.engine.headers import Fields, id_headers, retry_after
from fastanchor.wire import errors as wire
from fastanchor.wire.dial import Origin
from fastanchor.wire.message import OWN_FIELDS, Reply, Request

METRICS = b"/metrics"
OPEN = frozenset((METRICS,))
EXACT = OPEN | frozenset((b"/v1/usage", b"/v1/credits"))
PREFIXES = (b"/v1/organizations/", b"/admin/")
MAX_BODY = 1024 * 1024
PASSED = frozenset((b"content-type", b"accept"))
PRINCIPAL = b"x-fastanchor-principal"


def controls(path: bytes) -> bool:
    """Whether the control process answers this path."""
    return path in EXACT or path.startswith(PREFIXES)


async def forward(gateway: Gateway, control: Origin, request: Request, reply: Reply, request_id: str) -> bool:
    """Pass the request on and its answer back; False when the path is not the control process's."""
    if not controls(request.path):
        return False
    request.max_body = MAX_BODY
    limits: Fields = []
    try:
        named = []
        if request.path not in OPEN:
            principal = gateway.whoever(request)
            limits = gateway.limits_of(principal, "openai_chat")
            named.append((PRINCIPAL, _told(_permitted(principal, request))))
    except Fault as fault:
        answer_fields = [(b"content-type", b"application/json"), *id_headers(request_id), *limits, *retry_after(fault)]
        await reply.respond(fault.status, answer_fields, dialect("openai_chat").fault(fault, request_id))
        return True
    body = await request.body()
    fields = [(name, value) for name, value in request.headers if name in PASSED]
    fields += [(b"x-request-id", request_id.encode()), *named]
    try:
        response = await gateway.pool.request(
            control, request.method, request.target, fields, body, connect_timeout=2.0, first_byte_timeout=30.0
        )
        answer = await response.read_all(16 * MAX_BODY)
    except wire.WireError:
        text = b'{"error":{"message":"The control plane is not available.","code":"service_unavailable"}}'
        await reply.respond(503, [(b"content-type", b"application/json"), *id_headers(request_id)], text)
        return True
    response.close()
    kept = [(n, v) for n, v in response.headers if n not in OWN_FIELDS]
    await reply.respond(response.status, [*kept, *id_headers(request_id), *limits], answer)
    return True


def _permitted(principal: Principal, request: Request) -> Principal:
    """Who asks. Raises Fault for a key that is not for this endpoint."""
    if not principal.allows_endpoint(request.path.decode("latin-1")):
        raise Fault(Kind.PERMISSION_DENIED, "This key may not use this endpoint.")
    return principal


def _told(principal: Principal) -> bytes:
    """Who asks, as the control process reads it."""
    return orjson.dumps([principal.key_id, principal.organization, sorted(principal.scopes)])
