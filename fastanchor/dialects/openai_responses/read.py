"""A Responses request as it passes: the facts of the `Call`, and the edit for an upstream of the same kind.

The edit splices the model's name. Reasoning items that hold another vendor's signature (see `envelope`) are taken out
too, because the upstream would refuse what it cannot decrypt.

In `Call.options`: `previous_response_id`, `store` ("true" unless the client said false: storing is the API's default),
`background` ("true"), `conversation` (its id).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import orjson

from fastanchor._speedups.peek import Peek, count_text, splice
from fastanchor.core.call import Call
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import body as bodies
from fastanchor.dialects.openai_responses.envelope import MARK
from fastanchor.dialects.openai_responses.words import NAME

BYTES_PER_TOKEN = 4
FORWARDED = ("openai-organization", "openai-project", "openai-beta", "idempotency-key")
_FACTS = (
    b"model", b"input", b"instructions", b"tools", b"stream", b"store", b"background", b"previous_response_id",
    b"conversation", b"prompt", b"prompt_cache_key", b"max_output_tokens",
)  # fmt: skip
_INSTEAD = (b"prompt", b"conversation", b"previous_response_id")
_TEXTS = (b"input", b"instructions", b"tools")
_MARK = MARK.encode()


def read(body: bytes, headers: Mapping[str, str]) -> Call:
    """The facts of a request. Raises Fault(INVALID_REQUEST) that names the field."""
    found = bodies.members(body, _FACTS)
    call = Call(NAME, bodies.text(found, "model"), found.body, model_span=_span(found, b"model"))
    _check_input(found)
    call.stream = bodies.flag(found, "stream")
    call.include_usage = True
    call.max_output = bodies.whole(found, "max_output_tokens", 0, 2**53)
    call.affinity = bodies.optional_text(found, "prompt_cache_key")
    call.prompt_tokens = _tokens(found)
    call.headers = {name: headers[name] for name in FORWARDED if name in headers}
    call.options = _options(found)
    return call


def edit(call: Call, model: str) -> bytes:
    """The client's body for an upstream that speaks this dialect."""
    edits: list[tuple[int, int, bytes]] = []
    if call.model_span is not None and model != call.model:
        edits.append((*call.model_span, orjson.dumps(model)))
    if _MARK in call.body:
        edits += _without_envelopes(call.body)
    return splice(call.body, edits) if edits else call.body


def _check_input(found: Peek) -> None:
    """Text, or a list of items. A stored prompt, a conversation or an earlier response can stand in for it."""
    given = _value(found, b"input")
    if given == b"null":
        if all(_value(found, name) == b"null" for name in _INSTEAD):
            raise Fault(Kind.INVALID_REQUEST, "Missing required parameter: 'input'.", param="input")
    elif given[:1] not in (b'"', b"["):
        raise bodies.wrong("input", "a string or an array", given)


def _options(found: Peek) -> dict[str, str]:
    stored = _value(found, b"store") == b"null" or bodies.flag(found, "store")
    options = {"store": "true" if stored else "false"}
    if bodies.flag(found, "background"):
        options["background"] = "true"
    if previous := bodies.optional_text(found, "previous_response_id"):
        options["previous_response_id"] = previous
    if conversation := _conversation(found):
        options["conversation"] = conversation
    return options


def _conversation(found: Peek) -> str:
    """The id of a conversation, given as text or as an object."""
    raw = _value(found, b"conversation")
    if not raw.startswith(b"{"):
        return bodies.optional_text(found, "conversation")
    return bodies.text(bodies.members(raw, (b"id",)), "id")


def _tokens(found: Peek) -> int:
    spans = [span for name in _TEXTS if (span := found.span(name)) is not None]
    size = sum(count_text(found.body, *span) for span in spans)
    return max(1, -(-size // BYTES_PER_TOKEN))


def _without_envelopes(body: bytes) -> list[tuple[int, int, bytes]]:
    """The splice that leaves out reasoning items with a foreign signature."""
    found = bodies.members(body, (b"input",))
    span = found.span(b"input")
    if span is None or found.body[span.start : span.start + 1] != b"[":
        return []
    items = msgspec.json.decode(found.body[span.start : span.end], type=list[msgspec.Raw])
    kept = [item for item in map(bytes, items) if not (_MARK in item and _is_sealed(item))]
    return [(span.start, span.end, b"[%b]" % b",".join(kept))]


def _is_sealed(item: bytes) -> bool:
    document = orjson.loads(item)
    return (
        isinstance(document, dict)
        and document.get("type") == "reasoning"
        and str(document.get("encrypted_content") or "").startswith(MARK)
    )


def _value(found: Peek, name: bytes) -> bytes:
    """The member's JSON; one that is absent counts as null."""
    return found.raw(name) or b"null"


def _span(found: Peek, name: bytes) -> tuple[int, int] | None:
    span = found.span(name)
    return (span.start, span.end) if span else None
