"""HTTP on trio: servers and clients on raw non-blocking sockets. Knows no model, no key and no price.

A server is `bind` and `serve` with a handler; a client is a `Pool`.
"""

from .client_h1 import Response
from .dial import Origin
from .errors import (
    BadRequest,
    BadResponse,
    BodyTimeout,
    BodyTooLarge,
    ClientGone,
    ConnectFailed,
    ConnectTimeout,
    NoRoomForBody,
    ReadTimeout,
    ResetBeforeResponse,
    ResponseTimeout,
    TLSFailed,
    Truncated,
    WireError,
)
from .limits import DEFAULT_LIMITS, ServerLimits
from .listen import bind, serve
from .message import ErrorShape, Handler, Header, Headers, Reply, Request
from .pool import Pool
from .server_h1 import Drain, serve_connection

__all__ = [
    "DEFAULT_LIMITS",
    "BadRequest",
    "BadResponse",
    "BodyTimeout",
    "BodyTooLarge",
    "ClientGone",
    "ConnectFailed",
    "ConnectTimeout",
    "Drain",
    "ErrorShape",
    "Handler",
    "Header",
    "Headers",
    "NoRoomForBody",
    "Origin",
    "Pool",
    "ReadTimeout",
    "Reply",
    "Request",
    "ResetBeforeResponse",
    "Response",
    "ResponseTimeout",
    "ServerLimits",
    "TLSFailed",
    "Truncated",
    "WireError",
    "bind",
    "serve",
    "serve_connection",
]
