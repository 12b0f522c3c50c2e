"""What a worker answers by itself beside the API: probes, and the calls that clients make to see who is there.

None of these asks a provider or the control process: a probe tells about this process alone.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from fastanchor import __version__
from fastanchor.engine.headers import id_headers
from fastanchor.runtime.phase import Phase
from fastanchor.wire.message import Reply, Request

JSON = (b"content-type", b"application/json")

Answer = tuple[int, bytes]


def livez(phase: Phase) -> Answer:
    """The process answers."""
    return 200, b'{"status":"alive"}'


def readyz(phase: Phase) -> Answer:
    """Ready to take requests: 503 while starting, draining, or unable to account for them."""
    body: dict[str, object] = {"status": phase.status}
    if phase.told:
        body["problems"] = phase.told
    return 200 if phase.serves else 503, orjson.dumps(body)


def health(phase: Phase) -> Answer:
    """A summary; degraded is still 200, since streams go on."""
    body = {"status": phase.status, "version": __version__, "problems": phase.told}
    return 200 if phase.ready else 503, orjson.dumps(body)


def hello(phase: Phase) -> Answer:
    """`HEAD /` and `/api/hello`: some clients ask whether anybody is at home."""
    return 200, b'{"name":"fastanchor"}'


PATHS: dict[bytes, Callable[[Phase], Answer]] = {
    b"/livez": livez,
    b"/readyz": readyz,
    b"/health": health,
    b"/healthz": health,
    b"/health/liveliness": livez,
    b"/health/readiness": readyz,
    b"/": hello,
    b"/api/hello": hello,
}


async def answer(phase: Phase, request: Request, reply: Reply, request_id: str) -> bool:
    """Answer a probe; False when the path is none."""
    probe = PATHS.get(request.path)
    if probe is None or request.method not in (b"GET", b"HEAD"):
        return False
    status, body = probe(phase)
    await reply.respond(status, [JSON, *id_headers(request_id)], body)
    return True
