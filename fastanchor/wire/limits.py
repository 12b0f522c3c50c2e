"""What a server takes from its clients before it says no: sizes in bytes, times in seconds."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field

from fastanchor._speedups.http1 import REQUEST_LIMITS, HeadLimits


def most_connections() -> int:
    """Just under half of the descriptors this process may open: each client may need an upstream."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else max(16, int(soft * 0.45))


def default_connections() -> int:
    """As many as there may be, at most 8192."""
    return min(8192, most_connections())


@dataclass(frozen=True, slots=True)
class H2Limits:
    """Every bound of one HTTP/2 connection. Passing one ends the connection unless it says otherwise.

    What the peer is told (SETTINGS) first, then what a client may make us do, then times.
    """

    streams: int = 100
    """At one time (the stream is refused); one that was reset counts until its handler has ended."""
    stream_window: int = 65_535
    """Bytes of a request's body that wait for its handler."""
    connection_window: int = 1024 * 1024
    continuations: int = 8
    """CONTINUATION frames of one header block, which is at most as large as a head."""
    resets: int = 100
    """Streams reset before their answer was whole, by whichever side, in 10 s; or half of the last 200."""
    pings: int = 50
    """In 10 s."""
    settings: int = 20
    """In 10 s."""
    glitches: int = 1000
    """Pointless frames, and ten more for each answered request; GOAWAY at three quarters."""
    unsent: int = 1024 * 1024
    """Bytes that wait for the socket."""
    preface: float = 5.0
    """Seconds to the client's first SETTINGS frame."""
    header_block: float = 5.0
    """Seconds from a HEADERS frame to the end of its header block."""
    window_stall: float = 30.0
    """Seconds that an answer may wait for the client's flow control, and one more per KiB sent (the stream ends)."""


@dataclass(frozen=True, slots=True)
class WSLimits:
    """Every bound of one WebSocket, with the code that closes it behind it."""

    message: int = 1024 * 1024
    """Bytes (1009)."""
    frame: int = 1024 * 1024
    """Bytes (1009)."""
    fragments: int = 256
    """Frames of one message (1008)."""
    control_frames: int = 50
    """In 10 s (1008)."""
    unsent: int = 256 * 1024
    """Bytes that wait for the client; who has more to say waits too."""
    ping_every: float = 20.0
    """Seconds of silence before the client is asked whether it is there."""
    pong_within: float = 20.0
    """Seconds that it has to show a sign of life (reset)."""
    idle: float = 300.0
    """Seconds without a message either way while nothing is under way (1001)."""
    handshake: float = 10.0
    """Seconds to the first message, where who it is must be said in there."""
    close: float = 5.0
    """Seconds that the client has for its half of the closing handshake (reset)."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Every bound of one listener; the status that passing it answers is named where there is one."""

    head: HeadLimits = REQUEST_LIMITS
    """Request-line (414), one field, whole head and number of fields (431)."""
    head_deadline: float = 10.0
    """From the first byte of a head to its last (408); also from accept to the first byte (no answer)."""
    body: int = 32 * 1024 * 1024
    """The body (413)."""
    body_stall: float = 30.0
    """Between two reads of the body (408)."""
    body_rate: int = 8 * 1024
    """Bytes per second below which a body is too slow (408), counted after `body_grace` seconds of waiting."""
    body_grace: float = 10.0
    idle: float = 75.0
    """Between two requests on one connection (no answer)."""
    pressed_idle: float = 5.0
    """Likewise, from when nearly all of `connections`, or the descriptors, are taken."""
    requests: int = 1000
    """Requests on one connection; the last answer says `Connection: close`, or GOAWAY comes before it."""
    write_stall: float = 60.0
    """Without one byte taken by the client while an answer waits for it."""
    linger_bytes: int = 64 * 1024
    """Read and thrown away behind the last answer, so that it reaches a client that is still sending …"""
    linger: float = 2.0
    """… for so long at most. Also the unread rest of a body that a connection may be kept alive over."""
    h2: H2Limits = field(default_factory=H2Limits)
    ws: WSLimits = field(default_factory=WSLimits)
    handshake: float = 5.0
    """TLS, from accept to the end of the handshake (no answer)."""
    connections: int = field(default_factory=default_connections)
    """Connections at one time; more wait in the backlog of the listener."""
    connections_per_address: int = 256
    """Of these from one IPv4 address or IPv6 /64 (closed at once). 0: no bound."""
    connections_per_address_per_second: int = 64
    """New ones from one of these in a second (closed at once). 0: no bound."""
    loopback_exempt: bool = True
    """Loopback addresses are not counted: they are the operator's own proxies and tools, as unix peers always are."""
    half_close_aborts: bool = True
    """A client that ends its sending side is gone, and its request is cancelled (or not begun, when FIN was noticed
    first), as nginx and Envoy have it: a stream for nobody costs money. With False only a reset or a full close
    counts, and a request that was followed by FIN is still answered, as HAProxy and Node have it."""


DEFAULT_LIMITS = ServerLimits()
