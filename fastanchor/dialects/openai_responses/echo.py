"""The response object: the request's own settings, echoed, around what the answer has become so far.

Clients read some of them back (the SDK's helper needs `tools` and `text`), so a field that the client did not send is
told with the documented default (OpenAI API reference, "Create a model response").
"""

from __future__ import annotations

import msgspec
import orjson

from fastanchor.core.call import Call
from fastanchor.dialects.openai_responses.wire import UNREADABLE

DEFAULTS: dict[str, bytes] = {
    "background": b"false",
    "instructions": b"null",
    "max_output_tokens": b"null",
    "max_tool_calls": b"null",
    "metadata": b"{}",
    "parallel_tool_calls": b"true",
    "previous_response_id": b"null",
    "prompt_cache_key": b"null",
    "reasoning": b'{"effort":null,"summary":null}',
    "safety_identifier": b"null",
    "service_tier": b'"auto"',
    "store": b"true",
    "temperature": b"1.0",
    "text": b'{"format":{"type":"text"}}',
    "tool_choice": b'"auto"',
    "tools": b"[]",
    "top_logprobs": b"0",
    "top_p": b"1.0",
    "truncation": b'"disabled"',
    "user": b"null",
}


class ResponseObject:
    """Writes the snapshots of one answer. Times in unix seconds."""

    def __init__(self, call: Call, response_id: str, model: str, created: int) -> None:
        self._id = orjson.dumps(response_id)
        self._model = orjson.dumps(model)
        self._created = created
        self._echo = b",".join(b'"%b":%b' % (name.encode(), value) for name, value in _settings(call).items())

    def json(
        self,
        status: str,
        output: bytes = b"[]",
        *,
        usage: bytes = b"null",
        error: bytes = b"null",
        reason: str = "",
    ) -> bytes:
        """The object. `output`, `usage` and `error` are JSON; `reason` tells why an incomplete answer ended."""
        details = orjson.dumps({"reason": reason} if reason else None)
        return (
            b'{"id":%b,"object":"response","created_at":%d,"status":"%b","error":%b,"incomplete_details":%b,'
            b'"model":%b,"output":%b,%b,"usage":%b}'
        ) % (self._id, self._created, status.encode(), error, details, self._model, output, self._echo, usage)


def _settings(call: Call) -> dict[str, bytes]:
    """The echoed fields, as the client wrote them. A null counts as not sent."""
    try:
        asked = msgspec.json.decode(call.body, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        asked = {}
    settings = dict(DEFAULTS)
    for name in DEFAULTS:
        value = bytes(asked.get(name, b"null"))
        if value != b"null":
            settings[name] = value
    previous = call.options.get("previous_response_id")
    if previous:
        settings["previous_response_id"] = orjson.dumps(previous)
    return settings
