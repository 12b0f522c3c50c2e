"""What a listener shows to clients that come with TLS: certificates by name, versions, protocols.

TLS 1.2 and 1.3, suites that HTTP/2 allows (RFC 9113 §9.2), no renegotiation, ALPN with HTTP/2 first. The certificate
is chosen by SNI (RFC 6066 §3): an exact name, then a wildcard for its leftmost label, then the default. `load` swaps
everything in whole for the connections to come; those that exist keep what they began with.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; the suites of 1.3 are all good."""
PROTOCOLS = ["h2", "http/1.1"]


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate with its chain, and its private key; PEM files."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """All that TLS on a listener needs.

    `by_name` has the certificates of other names (lower case; `*.example.com` covers one label). With `client_ca`
    (a PEM file) clients show a certificate signed by one of its authorities, or, where it is not `client_required`,
    may come without any.
    """

    default: CertificateFiles
    by_name: Mapping[str, CertificateFiles] = field(default_factory=dict)
    client_ca: str | None = None
    client_required: bool = True


class ServerTLS:
    """The TLS side of a listener. Raises OSError (`ssl.SSLError` among them) for files that cannot be used."""

    def __init__(self, files: TLSFiles) -> None:
        self.load(files)

    def load(self, files: TLSFiles) -> None:
        """Read the files (again) and use them from the next connection on; files that are no good change nothing."""
        by_name = {name: _context(one, files) for name, one in files.by_name.items()}
        context = _context(files.default, files)

        def choose(tls: ssl.SSLObject, asked: str | None, _: ssl.SSLContext) -> None:
            name = (asked or "").lower()
            chosen = by_name.get(name) or by_name.get(_wildcard(name))
            if chosen is not None:
                tls.context = chosen

        if by_name:
            context.sni_callback = choose
        self.context = context


def _wildcard(name: str) -> str:
    return "*." + name.partition(".")[2]


def _context(pair: CertificateFiles, files: TLSFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(PROTOCOLS)
    context.load_cert_chain(pair.certificate, pair.key, password=_no_password)
    if files.client_ca is not None:
        context.load_verify_locations(files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if files.client_required else ssl.CERT_OPTIONAL
    return context


def _no_password() -> str:
    raise OSError("the private key is encrypted; give one that is not")
