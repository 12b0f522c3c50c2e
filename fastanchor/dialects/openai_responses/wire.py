"""What the Responses wire carries, read tolerantly: stream frames, output items, the response object.

Arguments, annotations, log probabilities and items keep their raw JSON. A field that is absent or null has its empty
value; an object with a field of the wrong type reads as None.
"""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec
import orjson

from fastanchor.core.events import Stop
from fastanchor.dialects.openai_responses.words import FAILED, PENDING, STOPS

_T = TypeVar("_T")
_ABSENT = msgspec.Raw(b"")


class Frame(msgspec.Struct):
    """One stream event, or what came in its place: a bare error, a whole response object."""

    type: str | None = None
    object: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    delta: str | None = None
    text: msgspec.Raw = _ABSENT  # an object in a response
    refusal: str | None = None
    arguments: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT
    logprobs: msgspec.Raw = _ABSENT
    annotation: msgspec.Raw = _ABSENT
    part: msgspec.Raw = _ABSENT
    item: msgspec.Raw = _ABSENT
    response: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT

    def kind(self, name: bytes) -> str:
        """The event's type. `name` is the SSE event name, for providers that put the type only there."""
        if self.type:
            return self.type
        if self.object == "response":
            return "response.completed"
        return "error" if present(self.error) else name.decode("ascii", "replace")


class Part(msgspec.Struct):
    """A content or summary part."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    annotations: list[msgspec.Raw] | None = None
    logprobs: msgspec.Raw = _ABSENT


class Item(msgspec.Struct):
    """An output item."""

    type: str | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT
    content: list[Part] | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None

    @property
    def refused(self) -> bool:
        return any(part.type == "refusal" for part in self.content or ())


class _Typed(msgspec.Struct):
    type: str | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class Response(msgspec.Struct):
    """The response object, as much of it as becomes events."""

    id: str | None = None
    model: str | None = None
    created_at: float | None = None
    status: str | None = None
    service_tier: str | None = None
    incomplete_details: _Incomplete | None = None
    output: list[msgspec.Raw] | None = None
    error: msgspec.Raw = _ABSENT

    @property
    def created(self) -> int:
        """Unix seconds, 0 when it does not say."""
        told = self.created_at or 0
        return int(told) if 0 < told < 2**53 else 0

    @property
    def reason(self) -> str:
        """Why it is incomplete, or ""."""
        return (self.incomplete_details.reason or "") if self.incomplete_details is not None else ""

    @property
    def failed(self) -> bool:
        return self.status in FAILED or present(self.error)

    @property
    def whole(self) -> bool:
        """Whether it is an answer at all, and one that no longer grows in the background."""
        return self.output is not None and self.status not in PENDING

    def stop(self, *, calls: bool, refused: bool) -> Stop:
        """Why the answer ended. The API has no word for calls and refusals: the items tell."""
        if self.status == "incomplete" or self.reason:
            return STOPS.get(self.reason, Stop.UNKNOWN)
        if calls:
            return Stop.TOOL_CALLS
        return Stop.REFUSAL if refused else Stop.END


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes that are no JSON, no UTF-8, or nested too deeply."""

_FRAME = msgspec.json.Decoder(Frame)
_PART = msgspec.json.Decoder(Part)
_ITEM = msgspec.json.Decoder(Item)
_TYPED = msgspec.json.Decoder(_Typed)
_RESPONSE = msgspec.json.Decoder(Response)


def read_frame(data: bytes) -> Frame | None:
    """One stream event. Raises ValueError when it is not JSON."""
    try:
        return _FRAME.decode(data)
    except msgspec.ValidationError:
        return None
    except RecursionError:
        raise ValueError("the event is nested too deeply") from None


def read_part(raw: msgspec.Raw) -> Part | None:
    return _read(_PART, raw)


def read_item(raw: msgspec.Raw) -> Item | None:
    return _read(_ITEM, raw)


def read_response(raw: bytes | msgspec.Raw) -> Response | None:
    return _read(_RESPONSE, raw)


def type_of(raw: bytes | msgspec.Raw) -> str:
    """The type of a frame or an item that does not read as one."""
    typed = _read(_TYPED, raw)
    return (typed.type or "") if typed is not None else ""


def id_of(response: bytes) -> str:
    """The id of a response object, "" when it has none."""
    said = read_response(response)
    return (said.id or "") if said is not None else ""


def _read(decoder: msgspec.json.Decoder[_T], raw: bytes | msgspec.Raw) -> _T | None:
    try:
        return decoder.decode(raw)
    except UNREADABLE:
        return None


def present(raw: msgspec.Raw) -> bool:
    """Whether there is a value, and not null."""
    return bytes(raw) not in (b"", b"null")


def items_of(raw: msgspec.Raw) -> bytes:
    """A JSON array that is not empty, or b""."""
    array = bytes(raw)
    return array if array.startswith(b"[") and array[1:-1].strip() else b""


def text_of(raw: msgspec.Raw) -> str:
    """The content of a JSON string; "" for anything else. Halves of surrogate pairs become U+FFFD."""
    value = bytes(raw)
    if not value.startswith(b'"'):
        return ""
    try:
        return str(orjson.loads(value))
    except orjson.JSONDecodeError:
        return _patched(value)


def _patched(value: bytes) -> str:
    try:
        text = str(json.loads(value.decode("utf-8", "replace"), strict=False))
    except ValueError:
        return ""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def arguments_of(raw: msgspec.Raw) -> bytes:
    """The text of arguments: the content of a JSON string, or JSON that a provider did not put into a string."""
    value = bytes(raw)
    return text_of(raw).encode() if value.startswith(b'"') else b"" if value == b"null" else value
