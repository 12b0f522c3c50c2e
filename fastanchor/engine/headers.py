"""The headers that every answer carries: request ids, the channel that served, attempts, overhead, cost."""

from __future__ import annotations

from math import ceil

from fastanchor.core.faults import Fault, Kind, Side
from fastanchor.engine.exchange import Exchange
from fastanchor.wire.coding import accepted

Fields = list[tuple[bytes, bytes]]


def id_headers(request_id: str) -> Fields:
    """Both names that SDKs read: OpenAI's and Anthropic's."""
    value = request_id.encode("ascii")
    return [(b"x-request-id", value), (b"request-id", value)]


def attempts(exchange: Exchange) -> bytes:
    """How many attempts there were and what became of each: `2; main=upstream_error (first, 12 ms); …`."""
    told = [f"{a.channel}={a.outcome} ({a.why}, {a.seconds * 1000:.0f} ms)" for a in exchange.attempts]
    return "; ".join([str(len(told)), *told]).encode("latin-1", "replace")


def dollars(micro: int) -> bytes:
    """Micro-dollars, to the last one."""
    return b"%d.%06d" % divmod(micro, 1_000_000)


def answer_headers(exchange: Exchange, content_type: bytes) -> Fields:
    """For an answer that a channel won."""
    sent = exchange.began if exchange.sent_upstream is None else exchange.sent_upstream
    fields = [
        (b"content-type", content_type),
        *id_headers(exchange.request_id),
        (b"x-fastanchor-channel", exchange.channel.encode("latin-1", "replace")),
        (b"x-fastanchor-attempts", attempts(exchange)),
        (b"x-fastanchor-overhead-ms", b"%.2f" % ((sent - exchange.began) * 1000)),
    ]
    fields += exchange.limit_fields
    if exchange.asked.stream:
        fields.append((b"cache-control", b"no-cache"))
    else:
        fields.append((b"x-fastanchor-cost-usd", dollars(exchange.cost)))
    if exchange.dropped:
        fields.append((b"x-fastanchor-dropped", ", ".join(exchange.dropped).encode("ascii", "replace")))
    return fields


def retry_after(fault: Fault) -> Fields:
    """Whole seconds, never fewer than it takes (RFC 9110 §10.2.3)."""
    return [] if fault.retry_after is None else [(b"retry-after", b"%d" % max(1, ceil(fault.retry_after)))]


def fault_headers(exchange: Exchange, fault: Fault) -> Fields:
    """For an error body. After the gateway's own attempts a client must not multiply them with its retries."""
    fields = [(b"content-type", b"application/json"), *id_headers(exchange.request_id), *exchange.limit_fields]
    fields += retry_after(fault)
    if fault.kind is Kind.UNSUPPORTED_MEDIA_TYPE:
        fields.append((b"accept-encoding", accepted()))  # RFC 9110 §15.5.16
    if exchange.attempts:
        fields.append((b"x-fastanchor-attempts", attempts(exchange)))
    if fault.side is Side.UPSTREAM and not fault.rejected:
        fields.append((b"x-should-retry", b"false"))
    return fields
