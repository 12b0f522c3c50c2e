"""A conversation that goes on from a stored response (`previous_response_id`).

What is stored of a response is the JSON array of all items up to and including its output; a later call that names it
becomes a call that says everything itself. `instructions` are not inherited (OpenAI API reference, "Create a model
response", `previous_response_id`).

Storing is the API's default (`store` true unless the client says false), and the gateway honours it in its own store
for calls that it translates. A channel that speaks this dialect keeps its own state: for its responses only the
channel's name is stored, so that the next call of the chain finds it.
"""

from __future__ import annotations

import msgspec
import orjson

from fastanchor.core.call import Call
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.openai_responses.read import read
from fastanchor.dialects.openai_responses.reading import decode
from fastanchor.dialects.openai_responses.wire import id_of

__all__ = ["continued", "deleted", "id_of", "input_items", "missing", "resumed"]

_PREVIOUS = "previous_response_id"
_NOTHING = (b"", b"[]", b"null")


def resumed(call: Call, earlier: bytes) -> Call:
    """The call with the stored items before its own input. It still tells the client which response it goes on from.

    Args:
        earlier: JSON array of items.

    Raises:
        Fault: INVALID_REQUEST that names the field.
    """
    members = decode(call.body, dict[str, msgspec.Raw])
    members.pop(_PREVIOUS, None)
    members["input"] = msgspec.Raw(_joined(earlier, input_items(call.body)))
    whole = read(msgspec.json.encode(members), call.headers)
    whole.options[_PREVIOUS] = call.options.get(_PREVIOUS, "")
    return whole


def input_items(body: bytes) -> bytes:
    """The input of a request as a JSON array of items."""
    given = bytes(decode(body, dict[str, msgspec.Raw]).get("input", msgspec.Raw(b"[]")))
    if given.startswith(b'"'):
        return b'[{"type":"message","role":"user","content":%b}]' % given
    return b"[]" if given in _NOTHING else given


def continued(call: Call, response: bytes) -> bytes:
    """What to store: the items of a (resumed) call and the output of its answer.

    Args:
        response: the response object, as `Encoder.final` or a non-streamed answer has it.
    """
    output = decode(response, dict[str, msgspec.Raw]).get("output", msgspec.Raw(b"[]"))
    return _joined(input_items(call.body), bytes(output))


def missing(response_id: str) -> Fault:
    """For a `previous_response_id` that is not stored: never there, deleted, expired, or somebody else's."""
    return Fault(Kind.INVALID_REQUEST, f"Previous response with id {response_id!r} not found.", param=_PREVIOUS)


def deleted(response_id: str) -> bytes:
    """The answer to `DELETE /v1/responses/{id}`."""
    return orjson.dumps({"id": response_id, "object": "response", "deleted": True})


def _joined(*arrays: bytes) -> bytes:
    """JSON arrays as one, every element with its bytes."""
    return b"[%b]" % b",".join(array.strip()[1:-1] for array in arrays if array.strip()[1:-1].strip())
