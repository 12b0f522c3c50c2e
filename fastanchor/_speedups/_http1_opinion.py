"""h11's second opinion on a head that has passed the gate's own rules: it reads the same, or the head is refused.

Loaded with the first head that comes to the gate.
"""

from __future__ import annotations

from collections.abc import Sequence

import h11

from ._http1_types import BadMessage, Header


def agree_on_request(raw: bytes, method: bytes, target: bytes, headers: list[Header]) -> None:
    """h11 reads the same request from `raw`, or it is refused."""
    judge = h11.Connection(h11.SERVER)
    event = verdict(judge, raw)
    if not (
        isinstance(event, h11.Request)
        and event.method == method
        and event.target == target
        and same_fields(event.headers, headers)
    ):
        raise BadMessage(400, "ambiguous request head")


def agree_on_response(raw: bytes, status: int, headers: list[Header]) -> None:
    """h11 reads the same response from `raw`, or it is refused."""
    judge = h11.Connection(h11.CLIENT)
    judge.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    judge.send(h11.EndOfMessage())
    event = verdict(judge, raw)
    if not (
        isinstance(event, (h11.Response, h11.InformationalResponse))
        and event.status_code == status
        and same_fields(event.headers, headers)
    ):
        raise BadMessage(400, "ambiguous response head")


def verdict(judge: h11.Connection, raw: bytes) -> object:
    try:
        judge.receive_data(raw)
        return judge.next_event()
    except h11.RemoteProtocolError as error:
        raise BadMessage(error.error_status_hint, "invalid head") from None


def same_fields(theirs: Sequence[tuple[bytes, bytes]], ours: list[Header]) -> bool:
    """Equal names and values; h11 lower-cases the value of Transfer-Encoding."""
    return len(theirs) == len(ours) and all(
        name == n and (value == v or (n == b"transfer-encoding" and value == v.lower()))
        for (name, value), (n, v) in zip(theirs, ours, strict=True)
    )
