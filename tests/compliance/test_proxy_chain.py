"""Behind nginx and behind HAProxy, over kept connections: every answer belongs to its request, and none is made up.

Each client sends bursts of mixed requests (sizes, chunks, HEAD, Expect, bodies that no handler reads) down one
connection before it reads; the answers, read by the standard library, say which request they are for.
"""

from __future__ import annotations

import hashlib
import io
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
import trio

from fastanchor.wire import Reply, Request, ServerLimits, bind, serve
from tests.compliance.conftest import program
from tests.kit.binary import free_port

pytestmark = pytest.mark.interop

CLIENTS = 8
BURST = 5
LIMITS = ServerLimits(requests=70)
"""Low, so that connections end under the proxy now and then."""

NGINX = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream anchor {{ server 127.0.0.1:{ours}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{theirs};
        keepalive_requests 100000;
        location / {{
            proxy_pass http://anchor;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering {buffering};
        }}
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    option http-keep-alive
    http-reuse always
frontend front
    bind 127.0.0.1:{theirs}
    default_backend back
backend back
    server anchor 127.0.0.1:{ours}
"""
CHAINS = {
    "nginx": ("nginx", NGINX, ("-e", "/dev/null", "-c"), "on"),
    "nginx-unbuffered": ("nginx", NGINX, ("-e", "/dev/null", "-c"), "off"),
    "haproxy": ("haproxy", HAPROXY, ("-db", "-f"), ""),
}


class Echo:
    """Answers with the request's name, method and what came of its body; counts the names."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    async def __call__(self, request: Request, reply: Reply) -> None:
        name = (request.get(b"x-name") or b"").decode()
        self.seen[name] += 1
        body = b"unread" if request.path == b"/unread" else await request.body()
        digest = hashlib.sha256(body).hexdigest()
        headers = [(b"x-name", name.encode()), (b"content-type", b"text/plain")]
        answer = expected(name, request.method.decode(), digest, int(request.query or b"0"))
        if request.path == b"/stream" and request.method != b"HEAD":
            await reply.start(200, headers)
            for at in range(0, len(answer), 1000):
                await reply.send(answer[at : at + 1000])
            await reply.finish()
        else:
            await reply.respond(200, headers, answer)


def expected(name: str, method: str, digest: str, size: int) -> bytes:
    return f"{name} {method} {digest} ".encode() + b"." * size


@dataclass
class Asked:
    """One request, and the answer that belongs to it."""

    name: str
    method: str
    sent: bytes
    answer: bytes


def request(random: Random, name: str) -> Asked:
    method = random.choice(["GET", "HEAD", "POST", "POST", "PUT"])
    path = random.choice(["/whole", "/stream"])
    size = random.choice([0, 1, 100, 5_000, 40_000])
    body = b""
    head = f"Host: h\r\nX-Name: {name}\r\n"
    if method in ("POST", "PUT"):
        # a body that looks like a request is none
        body = (b"GET /ghost HTTP/1.1\r\nHost: h\r\n\r\n" * 1500)[: random.choice([0, 1, 33, 4_000, 40_000])]
        if random.random() < 0.2:
            path = "/unread"
        if random.random() < 0.2:
            head += "Expect: 100-continue\r\n"
    digest = hashlib.sha256(b"unread" if path == "/unread" else body).hexdigest()
    framed = body
    if method in ("POST", "PUT") and random.random() < 0.5:
        head += "Transfer-Encoding: chunked\r\n"
        framed = chunked(random, body)
    elif method in ("POST", "PUT"):
        head += f"Content-Length: {len(body)}\r\n"
    sent = f"{method} {path}?{size} HTTP/1.1\r\n{head}\r\n".encode() + framed
    return Asked(name, method, sent, expected(name, method, digest, size))


def chunked(random: Random, body: bytes) -> bytes:
    pieces = []
    while body:
        size = random.randint(1, 9_000)
        pieces.append(b"%x\r\n%b\r\n" % (len(body[:size]), body[:size]))
        body = body[size:]
    return b"".join(pieces) + b"0\r\n\r\n"


class Kept(io.BufferedReader):
    """The reading side of a connection that outlives each of its answers."""

    def makefile(self, mode: str) -> Kept:
        return self

    def close(self) -> None:
        """`HTTPResponse` closes what it has read to the end."""


def client(port: int, number: int, requests: int) -> tuple[int, int]:
    """How many answers were right, and on how many connections they came."""
    random = Random(number)
    right = connections = 0
    while right < requests:
        connections += 1
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            reader = Kept(cast(Any, socket.SocketIO(sock, "r")))
            open_still = True
            while open_still and right < requests:
                burst = [request(random, f"{number}-{right + i}") for i in range(random.randint(1, BURST))]
                burst = burst[: requests - right]
                sock.sendall(b"".join(asked.sent for asked in burst))
                for asked in burst:
                    answer = HTTPResponse(cast(Any, reader), method=asked.method)
                    answer.begin()
                    body = answer.read()
                    assert answer.status == 200, (asked.sent[:200], answer.status, body[:200])
                    assert answer.getheader("x-name") == asked.name
                    assert body == (b"" if asked.method == "HEAD" else asked.answer)
                    right += 1
                    open_still = not answer.will_close
                    if not open_still:
                        assert asked is burst[-1], "closed before the end of a burst"
    return right, connections


@asynccontextmanager
async def chain(name: str, ours: int, directory: Path) -> AsyncIterator[int]:
    """The port of a proxy in front of `ours`."""
    command, text, options, buffering = CHAINS[name]
    found = program(command)
    theirs = free_port()
    file = directory / "proxy.conf"
    file.write_text(text.format(directory=directory, ours=ours, theirs=theirs, buffering=buffering))
    process = subprocess.Popen(  # noqa: ASYNC220 - it is there at once
        [found, *options, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        with trio.fail_after(60):
            while True:
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", theirs)).aclose()
                    break
                except OSError:
                    assert process.poll() is None, process.communicate()[1].decode()
                    await trio.sleep(0.05)
        yield theirs
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.mark.parametrize("requests", [500, pytest.param(12_500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CHAINS)
async def test_no_answer_goes_astray(name: str, requests: int, tmp_path: Path) -> None:
    """So many `requests` of each client."""
    echo = Echo()
    totals: list[tuple[int, int]] = []

    async def one(port: int, number: int) -> None:
        totals.append(await trio.to_thread.run_sync(client, port, number, requests))

    with bind("127.0.0.1:0") as listener, trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(listener, echo, limits=LIMITS))
            async with chain(name, listener.getsockname()[1], tmp_path) as port, trio.open_nursery() as clients:
                for number in range(CLIENTS):
                    clients.start_soon(one, port, number)
            nursery.cancel_scope.cancel()
    assert sum(right for right, _ in totals) == CLIENTS * requests
    assert echo.seen == {f"{number}-{i}": 1 for number in range(CLIENTS) for i in range(requests)}
    print(f"\n{name}: {sum(echo.seen.values())} requests on {sum(n for _, n in totals)} client connections")
