"""The control plane's ASGI application.

It asks workers through `gather`, which is handed in: how it reaches them is not its business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastanchor.control import metrics

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Gather = Callable[[], Awaitable[list[dict[str, Any]]]]
Answer = tuple[int, bytes, bytes]  # status, content type, body

JSON = b"application/json"
METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Control:
    """Routes control paths. `gather` yields the state of every worker that answers."""

    def __init__(self, gather: Gather) -> None:
        self.gather = gather
        self.routes: dict[tuple[str, str], Callable[[Scope], Awaitable[Answer]]] = {
            ("GET", "/metrics"): self.metrics,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI 3)."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        handler = self.routes.get((scope["method"], scope["path"]))
        status, kind, body = await handler(scope) if handler is not None else _missing()
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def metrics(self, scope: Scope) -> Answer:
        """The Prometheus page."""
        return 200, METRICS_TYPE, metrics.render(await self.gather())


def _missing() -> Answer:
    return 404, JSON, b'{"error":{"message":"Not found.","type":"invalid_request_error","code":"not_found"}}'


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
