"""A chat request as it passes: the facts of the `Call`, and the two edits that an upstream of the same kind needs.

The edits are byte splices: the model's name, and `stream_options.include_usage`, forced on so that a stream can be
accounted for (the observer hides the extra chunk from a client that did not ask). Everything else keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from fastanchor._speedups.peek import Peek, count_text, peek, splice
from fastanchor.core.call import Call
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import body as bodies

MAX_CHOICES = 128
BYTES_PER_TOKEN = 4
FORWARDED = ("openai-organization", "openai-project", "openai-beta", "idempotency-key")
_FACTS = (
    b"model", b"messages", b"stream", b"stream_options", b"max_tokens", b"max_completion_tokens", b"n", b"tools",
    b"prompt_cache_key",
)  # fmt: skip
_USAGE = b'"include_usage":true'
_FORCED = "include_usage"  # in Call.options: the splice that forces usage, as "start end replacement"


def read(body: bytes, headers: Mapping[str, str], dialect: str) -> Call:
    """The facts of a chat request. Raises Fault(INVALID_REQUEST) that names the field."""
    found = bodies.members(body, _FACTS)
    there = found.found
    model = bodies.text(found, "model")
    start, end = bodies.filled_list(found, "messages")
    call = Call(dialect, model, found.body, model_span=there[b"model"][1:])
    if b"n" in there:
        call.choices = bodies.whole(found, "n", 1, MAX_CHOICES) or 1
    if b"max_tokens" in there or b"max_completion_tokens" in there:
        call.max_output = output_limit(found)
    if b"prompt_cache_key" in there:
        call.affinity = bodies.optional_text(found, "prompt_cache_key")
    call.prompt_tokens = tokens_in(found, start, end)
    call.headers = forwarded(headers)
    if b"stream" in there or b"stream_options" in there:
        read_stream(found, call)
    return call


def output_limit(found: Peek) -> int | None:
    """The cap on output tokens, under its new or its old name."""
    new = bodies.whole(found, "max_completion_tokens", 0, 2**53)
    old = bodies.whole(found, "max_tokens", 0, 2**53)
    return old if new is None else new


def tokens_in(found: Peek, start: int, end: int) -> int:
    """An estimate of the prompt's tokens: the text between two offsets, and that of the tools."""
    tools = found.span(b"tools")
    size = count_text(found.body, start, end) + (count_text(found.body, *tools) if tools else 0)
    return max(1, -(-size // BYTES_PER_TOKEN))


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in FORWARDED if name in headers}


def read_stream(found: Peek, call: Call) -> None:
    """`stream` and `stream_options`, and where usage must be forced on."""
    call.stream = bodies.flag(found, "stream")
    options = found.raw(b"stream_options") or b"null"
    if options != b"null" and not options.startswith(b"{"):
        raise bodies.wrong("stream_options", "an object", options)
    if not call.stream:
        return
    start, end, text = _forced_usage(found)
    call.include_usage = not text
    if text:
        call.options[_FORCED] = f"{start} {end} {text.decode()}"


def _forced_usage(found: Peek) -> tuple[int, int, bytes]:
    """The splice that makes `include_usage` true; its text is empty when it is so already."""
    span = found.span(b"stream_options")
    if span is None:
        comma = b"" if found.empty else b","
        return found.object_end, found.object_end, comma + b'"stream_options":{' + _USAGE + b"}"
    options = peek(found.body, (b"include_usage",), span.start, span.end)
    if options is None:  # null, or an object with odd keys: nothing in it but obfuscation could be worth keeping
        return span.start, span.end, b"{" + _USAGE + b"}"
    value = options.span(b"include_usage")
    if value is None:
        return options.object_end, options.object_end, (b"" if options.empty else b",") + _USAGE
    raw = options.raw(b"include_usage") or b""
    if raw == b"true":
        return 0, 0, b""
    if raw not in (b"false", b"null"):
        raise Fault(
            Kind.INVALID_REQUEST, "Invalid type for 'stream_options.include_usage': expected a boolean.",
            param="stream_options.include_usage",
        )  # fmt: skip
    return value.start, value.end, b"true"


def edit(call: Call, model: str, quirks: frozenset[str] = frozenset()) -> bytes:
    """The client's body for an upstream that speaks chat; `no_stream_options` upstreams are not asked for usage."""
    edits: list[tuple[int, int, bytes]] = []
    if call.model_span is not None and model != call.model:
        edits.append((*call.model_span, orjson.dumps(model)))
    forced = call.options.get(_FORCED)
    if forced is not None and "no_stream_options" not in quirks:
        start, end, text = forced.split(" ", 2)
        edits.append((int(start), int(end), text.encode()))
    return splice(call.body, edits) if edits else call.body

