"""A raw HTTP/1.1 client for tests: sends what it is told, and says exactly what came back and how it ended."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass

import h11
import orjson
import trio

from fastanchor.wire.dial import Origin
from fastanchor.wire.errors import WireError
from fastanchor.wire.pool import Pool


@dataclass
class Got:
    """An answer. `whole` is False when the body was cut before its framing's end."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def json(self) -> dict[str, object]:
        return orjson.loads(self.body)  # type: ignore[no-any-return]


async def fetch(
    port: int, method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes = b"", step: int = 65536,
    tls: ssl.SSLContext | None = None,
) -> Got:
    """One request on a connection of its own, the answer read `step` bytes at a time."""
    connection = h11.Connection(h11.CLIENT)
    fields = {"host": "test", "connection": "close", "content-length": str(len(body)), **(headers or {})}
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    stream = tcp if tls is None else trio.SSLStream(tcp, tls, server_hostname="localhost")
    async with stream:
        request = h11.Request(method=method, target=path, headers=list(fields.items()))
        await stream.send_all((connection.send(request) or b"") + (connection.send(h11.Data(body)) or b""))
        return await _answer(connection, stream, step)


async def _answer(connection: h11.Connection, stream: trio.abc.Stream, step: int) -> Got:
    got = Got(0, {}, b"", False)
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return got
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await stream.receive_some(step))
            except trio.BrokenResourceError:
                return got
        elif isinstance(event, h11.Response):
            got.status = event.status_code
            got.headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            got.body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            got.whole = True
            return got
        elif isinstance(event, h11.ConnectionClosed):
            return got


async def post(
    port: int, path: str, document: object, *, key: str = "", step: int = 65536, tls: ssl.SSLContext | None = None,
    **headers: str,
) -> Got:
    """POST a JSON document."""
    fields = {"content-type": "application/json", **{n.replace("_", "-"): v for n, v in headers.items()}}
    if key:
        fields["authorization"] = f"Bearer {key}"
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return await fetch(port, "POST", path, headers=fields, body=body, step=step, tls=tls)


async def get(port: int, path: str, *, key: str = "", **headers: str) -> Got:
    """GET."""
    fields = {n.replace("_", "-"): v for n, v in headers.items()}
    if key:
        fields["authorization"] = f"Bearer {key}"
    return await fetch(port, "GET", path, headers=fields)


async def post_h2(port: int, path: str, document: object, tls: ssl.SSLContext) -> Got:
    """POST a JSON document over HTTP/2, on a connection of its own."""
    origin = Origin("https", "localhost", port, "on")
    with Pool(ssl_context=tls) as pool:
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.run)
            response = await pool.request(
                origin, b"POST", path.encode(), [(b"content-type", b"application/json")], orjson.dumps(document),
                connect_timeout=5.0, first_byte_timeout=30.0,
            )  # fmt: skip
            headers = {name.decode(): value.decode() for name, value in response.headers}
            got = Got(response.status, headers, b"", False)
            with contextlib.suppress(WireError):
                while data := await response.read():
                    got.body += data
                got.whole = True
            response.close()
            nursery.cancel_scope.cancel()
    return got
