"""Request-target and Host: who is asked, and for what (RFC 9112 §3.2, RFC 3986 §3.2.2).

Stricter than the grammar where peers disagree: a registered name holds letters, digits and `-._~%XX`, but none of the
sub-delims (a comma there is how two Host values look once somebody has joined them); a port is at most 65535; there
is no userinfo, no fragment, no IPvFuture and no zone id.
"""

from __future__ import annotations

import re
import socket

from ._http1_types import BadMessage

AUTHORITY = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|(?:[0-9A-Za-z\-._~]|%[0-9A-Fa-f]{2})+)(?::([0-9]{0,5}))?")
ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]*)(.*)")


def check_authority(value: bytes) -> None:
    """Raise BadMessage(400) unless `value` is host [":" port]."""
    match = AUTHORITY.fullmatch(value)
    if match is None:
        raise BadMessage(400, "invalid Host")
    literal, port = match.groups()
    if port and int(port) > 65535:
        raise BadMessage(400, "invalid port in Host")
    if literal is not None:
        try:
            socket.inet_pton(socket.AF_INET6, literal.decode("ascii"))
        except OSError:
            raise BadMessage(400, "invalid IPv6 address in Host") from None


def split_target(method: bytes, target: bytes) -> tuple[bytes, bytes, bytes | None]:
    """(path, query, authority) of a request-target; the authority only where the target itself names one.

    `target` holds visible ASCII only; which of the four forms is allowed depends on the method.
    """
    if b"#" in target:
        raise BadMessage(400, "fragment in request-target")
    if method == b"CONNECT":
        check_authority(target)
        raise BadMessage(501, "CONNECT is not supported")
    if target == b"*":
        if method != b"OPTIONS":
            raise BadMessage(400, "asterisk-form is for OPTIONS only")
        return target, b"", None
    authority = None
    if not target.startswith(b"/"):
        match = ABSOLUTE.fullmatch(target)
        if match is None:
            raise BadMessage(400, "invalid request-target")
        authority, target = match.groups()
        check_authority(authority)
        if not target.startswith(b"/"):  # http://host?q and http://host have the path "/" (RFC 9110 §4.2.3)
            target = b"/" + target
    path, _, query = target.partition(b"?")
    return path, query, authority
