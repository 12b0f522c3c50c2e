"""An instance with TLS as an operator meets it: curl in both versions of HTTP, and a new certificate on SIGHUP."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import trustme

from tests.kit.binary import Binary, fastanchor

ASK = '{"model":"demo-fast","messages":[{"role":"user","content":"Hello"}],"stream":true}'
CONFIG = """
[server]
auth = false
tls = { certificate = "cert.pem", key = "key.pem" }

[[channels]]
name = "demo"
provider = "demo"
models = "*"
"""


def write(authority: trustme.CA, directory: Path, *names: str) -> None:
    pair = authority.issue_cert(*names)
    pair.private_key_pem.write_to_path(directory / "key.pem")
    pair.cert_chain_pems[0].write_to_path(directory / "cert.pem")


def shown(binary: Binary, trust: ssl.SSLContext) -> set[str]:
    """The names in the certificate that a new connection gets."""
    with socket.create_connection(("127.0.0.1", binary.port)) as sock:
        with trust.wrap_socket(sock, server_hostname="127.0.0.1") as tls:
            certificate = tls.getpeercert()
    assert certificate is not None
    return {str(value) for kind, value in certificate["subjectAltName"] if kind == "DNS"}


@pytest.mark.interop
def test_tls_from_end_to_end(tmp_path: Path) -> None:
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    write(authority, tmp_path, "127.0.0.1", "old.example")
    with fastanchor(tmp_path, CONFIG, trust=trust) as binary:
        assert f"https://127.0.0.1:{binary.port}" in binary.log
        for version, shows in (("--http2", "2"), ("--http1.1", "1.1")):
            out = subprocess.run(
                ["curl", "-sS", "-N", "--cacert", str(tmp_path / "ca.pem"), version, "-w", "%{http_version}",
                 f"{binary.url}/v1/chat/completions", "-d", ASK],
                capture_output=True, text=True, check=True, timeout=20,
            ).stdout  # fmt: skip
            assert out.count("data: ") > 5
            assert out.endswith(f"data: [DONE]\n\n{shows}")

        with socket.create_connection(("127.0.0.1", binary.port)) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")  # no TLS: an alert, and the end
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(100):
                    pass
        assert b'fastanchor_limit_hits_total{limit="tls_handshake_failed"} 1.0' in binary.get("/metrics")[1]

        assert shown(binary, trust) == {"old.example"}
        write(authority, tmp_path, "127.0.0.1", "new.example")
        binary.signal(signal.SIGHUP)
        end = time.monotonic() + 60
        while shown(binary, trust) != {"new.example"}:
            assert time.monotonic() < end, binary.log
            time.sleep(0.05)

        (tmp_path / "key.pem").write_text("junk")
        binary.signal(signal.SIGHUP)
        while "reload refused: server.tls: cannot use cert.pem with key.pem" not in binary.log:
            assert time.monotonic() < end, binary.log
            time.sleep(0.05)
        assert shown(binary, trust) == {"new.example"}
