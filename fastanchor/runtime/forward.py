"""The way from the data plane to the control process: a plain reverse proxy over its unix socket.

Users see one port. A control process that is down costs its own pages a 503 and nothing else.
"""

from __future__ import annotations

from fastanchor.engine.headers import id_headers
from fastanchor.wire import errors as wire
from fastanchor.wire.dial import Origin
from fastanchor.wire.message import OWN_FIELDS, Reply, Request
from fastanchor.wire.pool import Pool

EXACT = frozenset((b"/metrics", b"/pricing", b"/dashboard"))
PREFIXES = (b"/dashboard/", b"/v1/organizations/", b"/admin/", b"/pricing/")
MAX_BODY = 1024 * 1024
PASSED = frozenset((b"authorization", b"x-api-key", b"content-type", b"accept", b"cookie", b"origin", b"if-none-match"))


def controls(path: bytes) -> bool:
    """Whether the control process answers this path."""
    return path in EXACT or path.startswith(PREFIXES)


async def forward(pool: Pool, control: Origin, request: Request, reply: Reply, request_id: str) -> bool:
    """Pass the request on and its answer back; False when the path is not the control process's."""
    if not controls(request.path):
        return False
    request.max_body = MAX_BODY
    body = await request.body()
    fields = [(name, value) for name, value in request.headers if name in PASSED]
    fields += [(b"x-request-id", request_id.encode()), (b"x-forwarded-for", request.peer.encode())]
    try:
        response = await pool.request(
            control, request.method, request.target, fields, body, connect_timeout=2.0, first_byte_timeout=30.0
        )
        answer = await response.read_all(16 * MAX_BODY)
    except wire.WireError:
        text = b'{"error":{"message":"The control plane is not available.","code":"service_unavailable"}}'
        await reply.respond(503, [(b"content-type", b"application/json"), *id_headers(request_id)], text)
        return True
    response.close()
    kept = [(n, v) for n, v in response.headers if n not in OWN_FIELDS]
    await reply.respond(response.status, [*kept, *id_headers(request_id)], answer)
    return True
