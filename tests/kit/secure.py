"""Certificates for tests: an authority of our own, what it has signed, and contexts that believe it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme

from fastanchor.wire.tls_server import CertificateFiles, ServerTLS, TLSFiles

NAME = "localhost"


@dataclass(frozen=True)
class Secure:
    """TLS at both ends of a connection: what a server shows, and a client that believes the authority."""

    server: ServerTLS

    @property
    def client(self) -> ssl.SSLContext:
        """Of its own for each use: clients set protocols in it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority().configure_trust(context)
        return context


@cache
def authority() -> trustme.CA:
    """Of the whole run: keys take time to make."""
    return trustme.CA()


@cache
def secure(*protocols: str, name: str = NAME, expired: bool = False, known: bool = True) -> Secure:
    """A server that shows a certificate for `name` and chooses one of `protocols` (ALPN)."""
    signer = authority() if known else trustme.CA()
    until = datetime.now(UTC) - timedelta(days=1) if expired else None
    server = ServerTLS(TLSFiles(_files(signer.issue_cert(name, not_after=until))))
    server.context.set_alpn_protocols(list(protocols))
    return Secure(server)


_FOLDER = TemporaryDirectory(prefix="fastanchor-certificates-")


def _files(pair: trustme.LeafCert) -> CertificateFiles:
    folder = Path(_FOLDER.name)
    number = len(list(folder.iterdir()))
    key, chain = folder / f"{number}-key.pem", folder / f"{number}-cert.pem"
    pair.private_key_pem.write_to_path(key)
    for part in pair.cert_chain_pems:
        part.write_to_path(chain, append=True)
    return CertificateFiles(str(chain), str(key))
