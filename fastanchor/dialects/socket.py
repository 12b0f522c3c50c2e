"""The message language of `GET /v1/ws`: one JSON object per WebSocket message, many inferences on one socket.

From the client (the API that this language comes from shows `auth`, `inference`, `token` and `done`):

    {"type": "auth", "api_key": KEY}                      first, unless the handshake carried the key
    {"type": "inference", "id": ID, …}                    the other members are an OpenAI chat request
    {"type": "cancel", "id": ID}

To the client, each with the `id` of its inference where that has one:

    {"type": "authenticated"}
    {"type": "token", "content": TEXT, …}                 other members of a delta (tool_calls, reasoning_content, …)
                                                          stand beside it, and `index` where there are several choices
    {"type": "done", "model", "finish_reason", "usage", "request_id"}     and `response`, the whole chat completion,
                                                          where `stream` is not true: its text is then one token
    {"type": "cancelled"}
    {"type": "error", "status": HTTP, "error": {message, type, param, code}, "request_id"}

An id is a string of at most 128 characters or an integer; without one only a single inference can be under way.
Sans-io.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from fastanchor._speedups.sse import Decoder
from fastanchor.core.faults import Fault
from fastanchor.core.usage import Usage
from fastanchor.dialects.fields import Fields, invalid
from fastanchor.dialects.openai_chat.faults import fault_body
from fastanchor.dialects.openai_chat.usage import write_usage

MAX_ID = 128
"""Characters."""
TYPES = ("auth", "inference", "cancel")
AUTHENTICATED = b'{"type":"authenticated"}'

_OURS = frozenset(("type", "id"))
_UNTOLD = frozenset(("role", "content", "type", "id", "index"))  # of a delta: told otherwise, or a name of ours

Id: TypeAlias = str | int | None


@dataclass(frozen=True, slots=True)
class Auth:
    """The client says who it is."""

    api_key: str

    def __repr__(self) -> str:
        return "Auth(***)"


@dataclass(frozen=True, slots=True)
class Inference:
    """The client asks; `body` is a chat request."""

    id: Id
    body: bytes


@dataclass(frozen=True, slots=True)
class Cancel:
    """The client does not want the rest."""

    id: Id


Message: TypeAlias = Auth | Inference | Cancel


def read(text: str) -> Message:
    """One message of the client's. Raises Fault(INVALID_REQUEST) that names the field."""
    fields = Fields(text.encode())
    kind = fields.text("type", required=True)
    if kind == "auth":
        return Auth(fields.text("api_key", required=True))
    if kind not in TYPES:
        raise fields.wrong("type", f"expected one of {', '.join(TYPES)}")
    if kind == "cancel":
        return Cancel(read_id(fields))
    members = (orjson.dumps(name) + b":" + raw for name, raw in fields.rest(_OURS).items())
    return Inference(read_id(fields), b"{" + b",".join(members) + b"}")


def id_of(text: str) -> Id:
    """The id of a message that cannot be read otherwise, for the answer to it."""
    try:
        return read_id(Fields(text.encode()))
    except Fault:
        return None


def read_id(fields: Fields, name: str = "id") -> Id:
    """A string, an integer, or nothing."""
    if fields.is_text(name):
        value = fields.text(name)
        if len(value) > MAX_ID:
            raise fields.wrong(name, f"it is longer than {MAX_ID} characters")
        return value
    if not fields.raw(name):
        return None
    number = fields.whole(name)
    if number is not None and abs(number) > 2**53:
        raise fields.wrong(name, "the number is too large")
    return number


def duplicate(given: Id) -> Fault:
    """For an inference whose id is taken."""
    return invalid("id", "another inference is under way with it" if given is not None else "give each inference one")


class Telling:
    """One inference's answer as messages: from the bytes of a chat answer, streamed or whole."""

    def __init__(self, given: Id, request_id: str) -> None:
        self._id = given
        self._request_id = request_id
        self._decoder = Decoder()
        self._model = ""
        self._finish_reason: str | None = None

    def stream(self, data: bytes) -> list[bytes]:
        """The messages that these bytes of a stream complete."""
        messages = []
        for event in self._decoder.feed(data):
            messages += self._chunk(_object(event.data))
        return messages

    def end(self, usage: Usage) -> list[bytes]:
        """The stream was whole."""
        return [self._done(usage, None)]

    def whole(self, body: bytes, usage: Usage) -> list[bytes]:
        """A whole answer: its text, and then all of it."""
        return [*self._chunk(_object(body)), self._done(usage, body)]

    def error(self, status: int, body: bytes) -> list[bytes]:
        """An error body of the OpenAI family."""
        return [self._message("error", status=status, error=error_in(body), request_id=self._request_id)]

    def cancelled(self) -> list[bytes]:
        return [self._message("cancelled", request_id=self._request_id)]

    def _chunk(self, chunk: dict[str, Any]) -> list[bytes]:
        if "error" in chunk and "choices" not in chunk:
            return [self._message("error", error=chunk["error"], request_id=self._request_id)]
        self._model = chunk.get("model") or self._model
        choices = chunk.get("choices")
        found = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
        return [token for choice in found for token in self._token(choice)]

    def _token(self, choice: dict[str, Any]) -> list[bytes]:
        """What one choice of a chunk says, if it says anything."""
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        said = choice.get("delta") or choice.get("message")
        if not isinstance(said, dict):
            return []
        rest = {name: value for name, value in said.items() if name not in _UNTOLD and value not in (None, [])}
        content = said.get("content") or ""
        if not content and not rest:
            return []
        index = {"index": choice["index"]} if choice.get("index") else {}
        return [self._message("token", content=content, **index, **rest)]

    def _done(self, usage: Usage, response: bytes | None) -> bytes:
        members: dict[str, Any] = {
            "model": self._model,
            "finish_reason": self._finish_reason,
            "usage": write_usage(usage),
            "request_id": self._request_id,
        }
        if response is not None:
            members["response"] = orjson.Fragment(response)
        return self._message("done", **members)

    def _message(self, kind: str, /, **members: Any) -> bytes:
        ours = {"type": kind} if self._id is None else {"type": kind, "id": self._id}
        return orjson.dumps({**ours, **members})


def error_in(body: bytes) -> Any:
    """The error object of an error body; a provider's own body may have another form."""
    error = _object(body).get("error")
    if isinstance(error, dict):
        return error
    message = body[:1000].decode("utf-8", "replace")
    return {"message": message, "type": "invalid_request_error", "param": None, "code": None}


def _object(text: bytes) -> dict[str, Any]:
    """A JSON object; what is none (`[DONE]`, a comment, a broken event) has nothing to tell."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def fault_message(fault: Fault, given: Id = None) -> bytes:
    """The error of a message that began no inference."""
    return Telling(given, "").error(fault.status, fault_body(fault, ""))[0]
