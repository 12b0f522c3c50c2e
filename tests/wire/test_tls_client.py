"""TLS to upstreams: which protocol is spoken, whom we believe, and sessions that are resumed."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest
import trio
import trustme

from fastanchor.wire import ConnectFailed, Origin, Pool, Reply, Request, TLSFailed, bind, serve
from fastanchor.wire.tls import TLSLink
from fastanchor.wire.tls_server import CertificateFiles, ServerTLS, TLSFiles


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    path = tmp_path_factory.mktemp("certificate")
    pair = authority.issue_cert("localhost")
    pair.private_key_pem.write_to_path(path / "key.pem")
    pair.cert_chain_pems[0].write_to_path(path / "cert.pem")
    return CertificateFiles(str(path / "cert.pem"), str(path / "key.pem"))


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class Upstream:
    """Our own server behind TLS; says which version of HTTP a request came in."""

    def __init__(self, certificate: CertificateFiles, protocols: list[str] | None) -> None:
        self.tls = ServerTLS(TLSFiles(certificate))
        if protocols is not None:
            self.tls.context.set_alpn_protocols(protocols)
        self.port = 0

    async def __call__(self, request: Request, reply: Reply) -> None:
        await reply.respond(200, [], request.version)

    def origin(self, http2: Literal["auto", "on", "off"] = "auto", *, verify: bool = True) -> Origin:
        return Origin("https", "localhost", self.port, http2, verify)


@asynccontextmanager
async def upstream(certificate: CertificateFiles, protocols: list[str] | None = None) -> AsyncIterator[Upstream]:
    up = Upstream(certificate, protocols)
    with bind("127.0.0.1:0") as listener:
        up.port = listener.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: serve(listener, up, tls=up.tls, task_status=task_status))
            yield up
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def pool(context: ssl.SSLContext | None, *, run: bool = True) -> AsyncIterator[Pool]:
    with Pool(ssl_context=context) as one:
        async with trio.open_nursery() as nursery:
            if run:
                await nursery.start(one.run)
            yield one
            nursery.cancel_scope.cancel()


async def fetch(one: Pool, origin: Origin) -> bytes:
    response = await one.request(origin, b"GET", b"/", [], connect_timeout=60, first_byte_timeout=60)
    with response:
        return await response.read_all(100)


@pytest.mark.parametrize(
    ("http2", "spoken", "version"),
    [
        ("auto", ["h2", "http/1.1"], b"2"),
        ("auto", ["http/1.1"], b"1.1"),
        ("off", ["h2", "http/1.1"], b"1.1"),
        ("on", ["h2"], b"2"),
    ],
)
async def test_alpn_by_setting(
    authority: trustme.CA, certificate: CertificateFiles, http2: Literal["auto", "on", "off"], spoken: list[str],
    version: bytes,
) -> None:  # fmt: skip
    async with upstream(certificate, spoken) as up, pool(trusting(authority)) as one:
        for _ in range(3):
            assert await fetch(one, up.origin(http2)) == version
        assert sum(one.counts(up.origin(http2))) == (1 if version == b"1.1" else 0)


async def test_insisting_on_http2_where_there_is_none(authority: trustme.CA, certificate: CertificateFiles) -> None:
    async with upstream(certificate, ["http/1.1"]) as up, pool(trusting(authority)) as one:
        with pytest.raises(ConnectFailed):
            await fetch(one, up.origin("on"))


async def test_without_a_nursery_auto_is_http1(authority: trustme.CA, certificate: CertificateFiles) -> None:
    async with upstream(certificate) as up, pool(trusting(authority), run=False) as one:
        assert await fetch(one, up.origin()) == b"1.1"


@pytest.mark.parametrize("http2", ["auto", "off"])
async def test_strangers_are_not_believed(certificate: CertificateFiles, http2: Literal["auto", "off"]) -> None:
    async with upstream(certificate) as up, pool(None) as one:
        with pytest.raises(TLSFailed, match="certificate of localhost"):
            await fetch(one, up.origin(http2))


async def test_unless_told_not_to_ask(certificate: CertificateFiles) -> None:
    async with upstream(certificate) as up, pool(None) as one:
        assert await fetch(one, up.origin("off", verify=False)) == b"1.1"
        assert await fetch(one, up.origin("auto", verify=False)) == b"2"
        with pytest.raises(TLSFailed):  # nothing of that carries over to those who do ask
            await fetch(one, up.origin("auto"))


@pytest.mark.parametrize("http2", ["on", "off"])
async def test_sessions_are_resumed(
    authority: trustme.CA, certificate: CertificateFiles, http2: Literal["on", "off"], monkeypatch: pytest.MonkeyPatch
) -> None:
    reused: list[bool | None] = []
    keep = TLSLink.__init__

    def noted(self: TLSLink, sock: ssl.SSLSocket, *args: object) -> None:
        if not sock.server_side:
            reused.append(sock.session_reused)
        keep(self, sock, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(TLSLink, "__init__", noted)
    async with upstream(certificate) as up:
        async with pool(trusting(authority)) as one:
            origin = up.origin(http2)
            await fetch(one, origin)
            one.close()
            await fetch(one, origin)
    assert reused == [False, True]


async def test_first_requests_to_an_unknown_origin_share_a_handshake(
    authority: trustme.CA, certificate: CertificateFiles
) -> None:
    async with upstream(certificate) as up, pool(trusting(authority)) as one:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(fetch, one, up.origin())
        assert one._multiplexer is not None
        assert one._multiplexer.counts(up.origin()) == (1, 0)
