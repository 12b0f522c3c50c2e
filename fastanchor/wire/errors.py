"""What can go wrong on the wire, in two families: what a server's handler meets, and what a client's caller meets."""

from __future__ import annotations


class WireError(Exception):
    """Base of everything below."""


# -- server side: raised from `Request.body`, `Request.read` and the methods of `Reply` -------------------------------


class ClientGone(WireError):
    """The client closed, reset, or stopped reading for longer than the write stall; nobody can be answered."""


class BadRequest(WireError):
    """The request broke the protocol behind its head. `status` is the answer; the connection closes with it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


class BodyTooLarge(BadRequest):
    """The body is, or announces to be, larger than the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"body over {limit} bytes")


class NoRoomForBody(BadRequest):
    """The body may be well, but too much of others' is held already."""

    def __init__(self) -> None:
        super().__init__(503, "no room for another body at the moment")


class BodyTimeout(BadRequest):
    """The body stalled, or came slower than the lowest rate."""

    def __init__(self) -> None:
        super().__init__(408, "body came too slowly")


# -- client side: raised from `Pool.request` and `Response.read` -------------------------------------------------------


class ConnectFailed(WireError):
    """No connection: the name did not resolve, or every address refused."""


class ConnectTimeout(ConnectFailed):
    """No connection (TLS included) within the connect timeout, or no free place under the cap of the origin."""


class TLSFailed(ConnectFailed):
    """The TLS handshake failed: certificate, host name, or protocol."""


class ResetBeforeResponse(WireError):
    """The connection ended before one byte of the response: the request may or may not have been processed."""


class ResponseTimeout(WireError):
    """No response head within the first-byte timeout."""


class ReadTimeout(WireError):
    """The body stood still for longer than the response's idle timeout."""


class NothingYet(WireError):
    """The body stood still for longer than the reader's patience; the response is as it was and can be read on."""


class Truncated(WireError):
    """The peer ended the connection before the end that the framing promised."""


class BadResponse(WireError):
    """The peer's bytes are not an HTTP/1.1 response that we accept."""
