"""TLS on a listener: handshakes, certificates by name, client certificates, reload, and a clean end."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock

from fastanchor.wire import Reply, Request, ServerLimits, bind, serve
from fastanchor.wire.hits import limit_hits
from fastanchor.wire.tls_server import CertificateFiles, ServerTLS, TLSFiles

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def directory(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificates")
    for name in ("a.example", "b.example", "*.wild.example", "new.example"):
        issue(authority, path, name)
    authority.cert_pem.write_to_path(path / "ca.pem")
    return path


def issue(authority: trustme.CA, path: Path, name: str) -> None:
    pair = authority.issue_cert(name)
    pair.private_key_pem.write_to_path(path / f"{name}.key")
    for i, pem in enumerate(pair.cert_chain_pems):
        pem.write_to_path(path / f"{name}.pem", append=i > 0)


def files(path: Path, name: str) -> CertificateFiles:
    return CertificateFiles(str(path / f"{name}.pem"), str(path / f"{name}.key"))


async def handler(request: Request, reply: Reply) -> None:
    assert request.secure
    await reply.respond(200, [], await request.body() + b"!")


@asynccontextmanager
async def listening(tls: ServerTLS, limits: ServerLimits | None = None) -> AsyncIterator[int]:
    with bind("127.0.0.1:0") as listener:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: serve(
                listener, handler, limits=limits or ServerLimits(), tls=tls, task_status=task_status
            ))
            yield listener.getsockname()[1]
            nursery.cancel_scope.cancel()


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def connect(port: int, context: ssl.SSLContext, name: str = "a.example") -> trio.SSLStream[trio.SocketStream]:
    stream = trio.SSLStream(await trio.open_tcp_stream("127.0.0.1", port), context, server_hostname=name)
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def names(port: int, authority: trustme.CA, asked: str | None) -> set[str]:
    """The names in the certificate that a client gets who asks for `asked`."""
    context = client_context(authority)
    context.check_hostname = False
    stream = trio.SSLStream(await trio.open_tcp_stream("127.0.0.1", port), context, server_hostname=asked)
    async with stream:
        await stream.do_handshake()
        shown = stream.getpeercert()
    return {value for kind, value in shown["subjectAltName"] if kind == "DNS"}


async def test_a_request_over_tls(authority: trustme.CA, directory: Path) -> None:
    async with listening(ServerTLS(TLSFiles(files(directory, "a.example")))) as port:
        async with await connect(port, client_context(authority)) as stream:
            assert stream.version() == "TLSv1.3"
            for _ in range(3):
                await stream.send_all(GET)
                answer = b""
                while not answer.endswith(b"\r\n\r\n!"):
                    answer += await stream.receive_some()
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("size", [16 * 1024, 1 << 20, 5_000_000])
async def test_large_bodies_both_ways(authority: trustme.CA, directory: Path, size: int) -> None:
    body = bytes(range(256)) * (size // 256)
    async with listening(ServerTLS(TLSFiles(files(directory, "a.example")))) as port:
        async with await connect(port, client_context(authority)) as stream:
            head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            await stream.send_all(head + body)
            answer = b""
            async for piece in stream:
                answer += piece
    assert answer.partition(b"\r\n\r\n")[2] == body + b"!"


async def test_the_end_is_clean(authority: trustme.CA, directory: Path) -> None:
    """With close_notify, so that an answer that ends with its connection cannot be cut by anybody on the path."""
    async with listening(ServerTLS(TLSFiles(files(directory, "a.example")))) as port:
        async with await connect(port, client_context(authority)) as stream:
            await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while piece := await stream.receive_some():  # a bare FIN raises
                answer += piece
    assert answer.endswith(b"!")


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("a.example", "a.example"),
        ("b.example", "b.example"),
        ("B.Example", "b.example"),
        ("X.WILD.example", "*.wild.example"),
        ("x.wild.example", "*.wild.example"),
        ("x.y.wild.example", "a.example"),
        ("wild.example", "a.example"),
        ("unknown.example", "a.example"),
        (None, "a.example"),
    ],
)
async def test_certificate_by_name(authority: trustme.CA, directory: Path, asked: str | None, shown: str) -> None:
    by_name = {name: files(directory, name) for name in ("b.example", "*.wild.example")}
    async with listening(ServerTLS(TLSFiles(files(directory, "a.example"), by_name))) as port:
        assert await names(port, authority, asked) == {shown}


async def test_reload_is_for_new_connections(authority: trustme.CA, directory: Path) -> None:
    tls = ServerTLS(TLSFiles(files(directory, "a.example")))
    async with listening(tls) as port:
        async with await connect(port, client_context(authority)) as old:
            tls.load(TLSFiles(files(directory, "new.example")))
            assert await names(port, authority, "a.example") == {"new.example"}
            await old.send_all(GET)
            assert (await old.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_files_that_are_no_good_change_nothing(authority: trustme.CA, directory: Path) -> None:
    tls = ServerTLS(TLSFiles(files(directory, "a.example")))
    broken = CertificateFiles(files(directory, "a.example").certificate, files(directory, "b.example").key)
    with pytest.raises(OSError, match="MISMATCH"):
        tls.load(TLSFiles(broken))
    async with listening(tls) as port:
        assert await names(port, authority, "a.example") == {"a.example"}


@pytest.mark.parametrize(
    ("required", "shows", "served"),
    [(True, True, True), (True, False, False), (False, True, True), (False, False, True)],
)
async def test_client_certificates(
    authority: trustme.CA, directory: Path, required: bool, shows: bool, served: bool
) -> None:
    context = client_context(authority)
    if shows:
        authority.issue_cert("client.example").configure_cert(context)
    tls = ServerTLS(TLSFiles(files(directory, "a.example"), {}, str(directory / "ca.pem"), required))
    async with listening(tls) as port:
        answer = b""
        try:
            async with await connect(port, context) as stream:
                await stream.send_all(GET)
                answer = await stream.receive_some()
        except trio.BrokenResourceError:
            assert not served
    assert answer.startswith(b"HTTP/1.1 200 OK") is served


async def test_a_stranger_with_a_certificate_of_another_authority(authority: trustme.CA, directory: Path) -> None:
    context = client_context(authority)
    trustme.CA().issue_cert("client.example").configure_cert(context)
    tls = ServerTLS(TLSFiles(files(directory, "a.example"), {}, str(directory / "ca.pem"), False))
    async with listening(tls) as port:
        stream = await connect(port, context)  # in TLS 1.3 a client learns of its refusal only when it reads
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await trio.aclose_forcefully(stream)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_old_versions_are_refused(authority: trustme.CA, directory: Path) -> None:
    context = client_context(authority)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    async with listening(ServerTLS(TLSFiles(files(directory, "a.example")))) as port:
        with pytest.raises(trio.BrokenResourceError):
            await connect(port, context)
        assert limit_hits()["tls_handshake_failed"] == 1


async def test_tls_1_2_with_a_suite_that_http2_allows(authority: trustme.CA, directory: Path) -> None:
    context = client_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(ServerTLS(TLSFiles(files(directory, "a.example")))) as port:
        async with await connect(port, context) as stream:
            cipher = stream.cipher()
            assert cipher is not None
            assert cipher[0].startswith("ECDHE-")
            assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]


async def test_sessions_are_resumed(authority: trustme.CA, directory: Path) -> None:
    context = client_context(authority)
    async with listening(ServerTLS(TLSFiles(files(directory, "a.example")))) as port:

        def twice() -> bool:
            session = None
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", port)) as sock:
                    with context.wrap_socket(sock, server_hostname="a.example", session=session) as tls:
                        tls.sendall(GET)
                        tls.recv(1)
                        session, reused = tls.session, tls.session_reused
            return bool(reused)

        assert await trio.to_thread.run_sync(twice)


async def test_a_handshake_that_never_comes(directory: Path, autojump_clock: MockClock) -> None:
    tls = ServerTLS(TLSFiles(files(directory, "a.example")))
    async with listening(tls) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            before = trio.current_time()
            await stream.send_all(b"\x16\x03\x01")
            assert await stream.receive_some() == b""
            assert 5 <= trio.current_time() - before < 6
        assert limit_hits()["tls_handshake_timeout"] == 1


async def test_a_client_that_speaks_no_tls(directory: Path) -> None:
    async with listening(ServerTLS(TLSFiles(files(directory, "a.example")))) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(GET)
            answer = b""
            with contextlib.suppress(trio.BrokenResourceError):
                while piece := await stream.receive_some():
                    answer += piece
    assert b"HTTP" not in answer


async def test_a_client_that_leaves_within_the_handshake(directory: Path) -> None:
    tls = ServerTLS(TLSFiles(files(directory, "a.example")))
    async with listening(tls) as port:
        for _ in range(3):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(b"\x16")
            await stream.aclose()
        assert len(tls.context.get_ciphers()) > 0
