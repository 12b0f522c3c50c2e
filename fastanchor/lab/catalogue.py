"""The faults that a channel may have, and what the client is promised for each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from fastanchor.lab.fault import GOOD, Fault, retry_after, retry_after_date, retry_after_ms
from fastanchor.wire import errors as wire

HOUR = 3600.0


class Promise(Enum):
    """What the client gets. Whatever it is, a cut answer never ends like a whole one."""

    WHOLE = auto()  # the whole answer, from this very channel
    HIDDEN = auto()  # the whole answer from another channel; where there is none that or an error, told as such
    ONCE = auto()  # as HIDDEN, and where there is no other channel this one is asked again and answers
    RESCUED = auto()  # as HIDDEN for a plain answer; a stream goes on where the route rescues it
    TOLD = auto()  # the provider's own refusal, at once and from one attempt
    MODEL = auto()  # as TOLD; where the route names other models, the whole answer of one of them will do


@dataclass(frozen=True, slots=True)
class Case:
    """A fault and its promise. `patient`: it shows only after a time-out, so that hedging decides how long it takes."""

    fault: Fault
    promise: Promise
    patient: bool = False


def _words(words: str, promise: Promise, *, name: str = "", patient: bool = False) -> Case:
    return Case(Fault(name or words, words), promise, patient)


def _refused(status: int, body: bytes, name: str, promise: Promise = Promise.HIDDEN) -> Case:
    return Case(Fault(name, status=status, body=body), promise)


def _busy(name: str, headers: object, *, first: int | None = None, promise: Promise = Promise.HIDDEN) -> Case:
    return Case(Fault(name, status=429, headers=headers, first=first), promise)  # type: ignore[arg-type]


CONTEXT = b'{"error":{"message":"maximum context length is 8192","code":"context_length_exceeded"}}'
POLICY = b'{"error":{"message":"blocked","code":"content_filter"}}'
INVALID = b'{"error":{"message":"no such parameter","type":"invalid_request_error","param":"x"}}'

CATALOGUE: tuple[Case, ...] = (
    Case(GOOD, Promise.WHOLE),
    # no connection
    Case(Fault("refused", error=wire.ConnectFailed), Promise.HIDDEN),
    Case(Fault("no address", error=wire.ConnectFailed, after=0.1), Promise.HIDDEN),
    Case(Fault("no connection", error=wire.ConnectFailed, after=HOUR), Promise.HIDDEN),
    Case(Fault("bad certificate", error=wire.TLSFailed, after=0.02), Promise.HIDDEN),
    Case(Fault("refused once", error=wire.ConnectFailed, first=1), Promise.ONCE),
    # no head
    _words("reset", Promise.HIDDEN),
    Case(Fault("reset once", "reset", first=1), Promise.ONCE),
    Case(Fault("cut in the head", error=wire.Truncated), Promise.HIDDEN),
    Case(Fault("not HTTP", error=wire.BadResponse), Promise.HIDDEN),
    Case(Fault("silent", error=wire.ResponseTimeout, after=HOUR), Promise.HIDDEN, patient=True),
    _words("slowhead20000", Promise.HIDDEN, name="late head", patient=True),
    _words("ttft20000", Promise.HIDDEN, name="late first token", patient=True),
    _words("ttft3000", Promise.WHOLE, name="first token after 3 s"),
    # statuses
    Case(Fault("500 once", "fail500", first=1), Promise.ONCE),
    _words("fail500", Promise.HIDDEN, name="500"),
    _words("fail502, html", Promise.HIDDEN, name="502 with HTML"),
    _words("fail503", Promise.HIDDEN, name="503"),
    _words("fail504", Promise.HIDDEN, name="504"),
    _words("fail529", Promise.HIDDEN, name="529"),
    _words("fail408", Promise.HIDDEN, name="408"),
    _words("fail401", Promise.HIDDEN, name="401"),
    _words("fail403", Promise.HIDDEN, name="403"),
    _words("fail404", Promise.HIDDEN, name="404"),
    _words("fail302", Promise.HIDDEN, name="302"),
    _refused(402, b'{"error":{"code":"insufficient_quota"}}', "402"),
    _refused(429, b'{"error":{"code":"insufficient_quota"}}', "429, no quota"),
    _refused(400, CONTEXT, "400, context length", Promise.MODEL),
    _refused(400, POLICY, "400, content filter", Promise.MODEL),
    _refused(400, INVALID, "400, invalid", Promise.TOLD),
    _refused(422, INVALID, "422", Promise.TOLD),
    # 429 and how long to wait
    _busy("429", None),
    _busy("429 once, 2 s", retry_after(b"2"), first=1, promise=Promise.ONCE),
    _busy("429 once, date", retry_after_date(3), first=1, promise=Promise.ONCE),
    _busy("429 once, 1500 ms", retry_after_ms(b"1500"), first=1, promise=Promise.ONCE),
    _busy("429 once, junk", retry_after(b"soon"), first=1, promise=Promise.ONCE),
    _busy("429 once, -1", retry_after(b"-1"), first=1, promise=Promise.ONCE),
    _busy("429, for ever", retry_after(b"1000000000")),
    # a 200 that is none
    _words("empty", Promise.HIDDEN),
    _words("malformed0", Promise.HIDDEN, name="malformed"),
    _words("errorinband0", Promise.HIDDEN, name="error in a 200"),
    _words("cut0", Promise.HIDDEN, name="cut before content"),
    _words("end0", Promise.HIDDEN, name="end before content"),
    _words("stall0", Promise.HIDDEN, name="stall before content", patient=True),
    # after the first content
    _words("malformed15", Promise.RESCUED, name="bad event in the midst"),
    _words("nodone", Promise.WHOLE, name="no terminal marker"),
    _words("nousage", Promise.WHOLE, name="no usage"),
    _words("cut1", Promise.RESCUED),
    _words("cut40", Promise.RESCUED),
    _words("cut59", Promise.RESCUED),
    _words("end30", Promise.RESCUED),
    _words("stall20", Promise.RESCUED, patient=True),
    _words("errorinband10", Promise.RESCUED),
)
