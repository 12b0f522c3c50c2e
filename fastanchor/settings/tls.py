"""The files behind `[server.tls]`: which they are, and whether TLS can be served from them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastanchor.settings import schema
from fastanchor.settings.context import Context
from fastanchor.settings.problem import Problem


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Paths of a certificate (with its chain) and of its private key. `path` is the key path of the pair's table."""

    certificate: str
    key: str
    path: str


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """`by_name`: certificates for clients that ask for a name (SNI), lower case, `*.` for one label; else `default`."""

    default: KeyPair
    by_name: dict[str, KeyPair] = field(default_factory=dict)
    client_ca: str | None = None
    client_required: bool = True


def compile_tls(tls: schema.Tls, context: Context) -> TlsSettings:
    """The running side of `[server.tls]`; problems go to the context."""
    by_name: dict[str, KeyPair] = {}
    for i, one in enumerate(tls.certificates):
        pair = KeyPair(one.certificate, one.key, f"server.tls.certificates[{i}]")
        for j, name in enumerate(one.names):
            if name in by_name:
                context.wrong(f"{pair.path}.names[{j}]", f'"{name}" already belongs to {by_name[name].path}')
            by_name[name] = pair
    return TlsSettings(
        default=KeyPair(tls.certificate, tls.key, "server.tls"),
        by_name=by_name,
        client_ca=tls.client_ca,
        client_required=tls.client_certificate == "required",
    )


def check_files(tls: TlsSettings) -> Iterator[Problem]:
    """What is wrong with the files; reads them. The text of a key is never shown."""
    for pair in dict.fromkeys((tls.default, *tls.by_name.values())):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair.certificate, pair.key, password=no_password)
        except OSError as error:  # ssl.SSLError is one
            yield Problem(pair.path, f"cannot use {pair.certificate} with {pair.key}: {_reason(error)}")
    if tls.client_ca is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(tls.client_ca)
        except OSError as error:
            yield Problem("server.tls.client_ca", f"cannot use {tls.client_ca}: {_reason(error)}")


def no_password() -> str:
    """OpenSSL asks for the password of an encrypted key; at a terminal it would ask the operator."""
    raise OSError(None, "the key is encrypted; give one that is not")


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    if reason is not None:
        return str(reason).lower().replace("_", " ")
    return error.strerror or "no PEM file of that kind"
