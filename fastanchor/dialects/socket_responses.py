"""The message language of the upgrade of `GET /v1/responses`: the Responses API, one event per WebSocket message.

The client sends `response.create`, whose other members are a request; the server answers with the events of a stream,
each as a message of its own, and with `{"type": "error", "status", "error"}` where HTTP would refuse. What the client
library says of the members that HTTP does not have:

- `stream` is implied, `background` is not supported.
- `generate: false` prepares a state without asking the model: the answer is a response without output, whose id can be
  gone on from.
- Requests with the same `stream_id` (or without one) are answered in their order; their events carry it.

A response that is not stored (`store: false`, or nothing was generated) can be gone on from on its own socket only: the
socket remembers its items, and a request that names it as `previous_response_id` is made to say everything itself.
Source: the types of openai-python 3 (`ResponsesClientEvent`, `ResponsesServerEvent`). Sans-io.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import orjson

from fastanchor._speedups.sse import Decoder
from fastanchor.core.call import Call
from fastanchor.core.events import Begin, Counted, End, Finish, Stop
from fastanchor.core.faults import Fault
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import Answering
from fastanchor.dialects.fields import Fields
from fastanchor.dialects.openai_responses import state
from fastanchor.dialects.openai_responses.dialect import DIALECT
from fastanchor.dialects.openai_responses.read import read as read_request
from fastanchor.dialects.socket import MAX_ID, error_in

MOST_REMEMBERED = 4
MOST_BYTES = 8 * 1024 * 1024
"""Of all items that a socket remembers."""

CREATE = "response.create"
_NOT_HTTP = frozenset(("type", "stream", "background", "generate", "stream_id"))
_ENDINGS = (b'"response.completed"', b'"response.incomplete"')


@dataclass(frozen=True, slots=True)
class Create:
    """The client asks. `body` is a request with `stream: true`; `lane` is its `stream_id`."""

    body: bytes
    lane: str = ""
    previous: str = ""
    generate: bool = True
    stored: bool = True


def read(text: str) -> Create:
    """One message of the client's. Raises Fault(INVALID_REQUEST) that names the field."""
    fields = Fields(text.encode())
    kind = fields.text("type", required=True)
    if kind != CREATE:
        raise fields.wrong("type", f"only '{CREATE}' is taken on this connection")
    if fields.flag("background"):
        raise fields.wrong("background", "it is not supported over WebSocket")
    lane = fields.text("stream_id")
    if len(lane) > MAX_ID:
        raise fields.wrong("stream_id", f"it is longer than {MAX_ID} characters")
    members = {name: msgspec.Raw(raw) for name, raw in fields.rest(_NOT_HTTP).items()}
    generate = fields.flag("generate") is not False
    return Create(
        msgspec.json.encode({**members, "stream": True}),
        lane,
        fields.text("previous_response_id"),
        generate,
        generate and fields.flag("store") is not False,
    )


def lane_of(text: str) -> str:
    """The lane of a message that cannot be read otherwise, for the answer to it."""
    try:
        return Fields(text.encode()).text("stream_id")[:MAX_ID]
    except Fault:
        return ""


class Memory:
    """The items of the latest responses that only this socket knows, by id."""

    def __init__(self) -> None:
        self._items: OrderedDict[str, bytes] = OrderedDict()

    def keep(self, body: bytes, response: bytes) -> None:
        """Remember a response object, and the request that it answers."""
        response_id = state.id_of(response)
        items = state.continued(read_request(body, {}), response)
        if not response_id or len(items) > MOST_BYTES:
            return
        self._items[response_id] = items
        while len(self._items) > MOST_REMEMBERED or sum(map(len, self._items.values())) > MOST_BYTES:
            self._items.popitem(last=False)

    def completed(self, create: Create) -> bytes:
        """The request's body; it says everything itself where what it goes on from is remembered here. Raises Fault."""
        items = self._items.get(create.previous)
        return create.body if items is None else state.resumed(read_request(create.body, {}), items).body


def prepared(call: Call, request_id: str, created: int) -> bytes:
    """The stream of a response for which nothing is generated."""
    encoder = DIALECT.encoder(Answering(call, call.model, request_id, created))
    return encoder.feed((Begin("", call.model, created), Counted(Usage(0, 0)), Finish(Stop.END), End()))


class Telling:
    """One response as messages: from the bytes of a stream.

    Args:
        ended: given the response object before the message that tells it.
    """

    def __init__(self, lane: str, ended: Callable[[bytes], None]) -> None:
        self._lane = lane
        self._ended = ended
        self._decoder = Decoder()

    def stream(self, data: bytes) -> list[bytes]:
        """The messages that these bytes complete."""
        messages = []
        for event in self._decoder.feed(data):
            if not event.data.startswith(b"{"):  # a comment, or a marker that this API does not have
                continue
            response = _ended_response(event.data)
            if response:
                self._ended(response)
            messages.append(self._in_lane(event.data))
        return messages

    def end(self, usage: Usage) -> list[bytes]:
        """Nothing: the last event has said it."""
        return []

    def whole(self, body: bytes, usage: Usage) -> list[bytes]:
        """A response that did not come as a stream."""
        self._ended(body)
        return [self._in_lane(b'{"type":"response.completed","sequence_number":0,"response":%b}' % body)]

    def error(self, status: int, body: bytes) -> list[bytes]:
        """An error body of the OpenAI family."""
        return [self._in_lane(orjson.dumps({"type": "error", "status": status, "error": error_in(body)}))]

    def _in_lane(self, event: bytes) -> bytes:
        return event if not self._lane else b'{"stream_id":%b,' % orjson.dumps(self._lane) + event[1:]


def _ended_response(event: bytes) -> bytes:
    """The response object of an event that completes it, b"" of any other."""
    if not any(word in event for word in _ENDINGS):
        return b""
    try:
        members = msgspec.json.decode(event, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return b""
    return bytes(members.get("response", b"")) if bytes(members.get("type", b"")) in _ENDINGS else b""


def fault_message(fault: Fault, lane: str = "") -> bytes:
    """The error of a message that began no response."""
    return Telling(lane, lambda _: None).error(fault.status, DIALECT.fault(fault, ""))[0]
