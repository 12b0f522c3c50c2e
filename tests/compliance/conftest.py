"""Our server for other people's programs: on loopback, in a thread of its own, in clear or over TLS."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trustme

from fastanchor.wire import Reply, Request, ServerLimits, bind, serve
from fastanchor.wire.tls_server import CertificateFiles, ServerTLS, TLSFiles

H2SPEC = "github.com/summerwind/h2spec/cmd/h2spec@latest"
BUILD_SECONDS = 240
EVENTS = 20


@dataclass(frozen=True)
class Site:
    """Where the server is. `authority` is the PEM file to trust, where it speaks TLS."""

    port: int
    authority: Path | None

    @property
    def url(self) -> str:
        return f"{'https' if self.authority else 'http'}://localhost:{self.port}"


async def handler(request: Request, reply: Reply) -> None:
    """/stream: events, 10 ms apart; /size/N: so many bytes; else the length of the request's body, or `hello`."""
    if request.path == b"/stream":
        await reply.start(200, [(b"content-type", b"text/event-stream")])
        for i in range(EVENTS):
            await reply.send(b"data: %d\n\n" % i)
            await trio.sleep(0.01)
        await reply.finish()
    elif request.path.startswith(b"/size/"):
        await reply.respond(200, [], bytes(int(request.path[6:])))
    elif request.path == b"/version":
        await reply.respond(200, [], request.version)
    else:
        body = await request.body()
        await reply.respond(200, [(b"content-type", b"text/plain")], b"%d" % len(body) if body else b"hello")


@pytest.fixture(scope="session", params=["clear", "tls"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    tls = None
    if request.param == "tls":
        authority = trustme.CA()
        pair = authority.issue_cert("localhost", "127.0.0.1")
        pair.private_key_pem.write_to_path(directory / "key.pem")
        pair.cert_chain_pems[0].write_to_path(directory / "cert.pem")
        authority.cert_pem.write_to_path(directory / "ca.pem")
        tls = ServerTLS(TLSFiles(CertificateFiles(str(directory / "cert.pem"), str(directory / "key.pem"))))
    listener = bind("127.0.0.1:0")
    scope = trio.CancelScope()
    ready = threading.Event()

    async def run() -> None:
        with scope:
            ready.set()
            await serve(listener, handler, limits=ServerLimits(requests=10_000), tls=tls)

    started: list[trio.lowlevel.TrioToken] = []

    async def main() -> None:
        started.append(trio.lowlevel.current_trio_token())
        await run()

    thread = threading.Thread(target=trio.run, args=(main,), name="site")
    thread.start()
    ready.wait(10)
    yield Site(listener.getsockname()[1], directory / "ca.pem" if tls else None)
    started[0].run_sync_soon(scope.cancel)
    thread.join(10)
    listener.close()


@pytest.fixture(scope="session")
def h2spec() -> str:
    """The h2spec program: on the path, named by $H2SPEC, or built with the Go toolchain; else the test is skipped."""
    found = os.environ.get("H2SPEC") or shutil.which("h2spec")
    if found:
        return found
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fastanchor"
    program = cache / "h2spec"
    if program.exists():
        return str(program)
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        pytest.skip("no h2spec, and no Go toolchain to build it with")
    cache.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "GOBIN": str(cache)}
    try:
        built = subprocess.run(
            [go, "install", H2SPEC],
            env=env, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip("h2spec could not be built in time")
    if built.returncode != 0:
        pytest.skip(f"h2spec cannot be built here: {built.stderr.strip().splitlines()[-1]}")
    return str(program)


def program(name: str) -> str:
    """The path of a program that a test drives; absent ones skip it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine")
    return found
