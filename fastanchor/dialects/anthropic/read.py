"""A Messages request as it passes: the facts of the `Call`, the one edit an upstream of this language needs, a count.

Nothing is parsed but the members named here; everything else in the body, betas included, keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

import orjson

from fastanchor._speedups.peek import Peek, count_text, splice
from fastanchor.core.call import Call
from fastanchor.dialects import body as bodies
from fastanchor.dialects.anthropic.faults import invalid
from fastanchor.dialects.anthropic.versions import FIRST, is_version

NAME = "anthropic"
BYTES_PER_TOKEN = 4
FORWARDED = ("anthropic-beta",)
_FACTS = (b"model", b"messages", b"max_tokens", b"stream", b"system", b"tools", b"metadata")
_COUNTED = (b"messages", b"system", b"tools")


def read(body: bytes, path: str, query: str, headers: Mapping[str, str]) -> Call:
    """The facts of a request to `/v1/messages` or `/v1/messages/count_tokens`. Raises Fault(INVALID_REQUEST)."""
    found = bodies.members(body, _FACTS)
    model = bodies.text(found, "model")
    bodies.filled_list(found, "messages")
    span = found.span(b"model")
    call = Call(NAME, model, found.body, model_span=(span.start, span.end) if span else None)
    call.prompt_tokens = _tokens(found)
    call.affinity = _user(found)
    call.headers = _headers(headers)
    if parse_qs(query).get("beta") == ["true"]:
        call.options["beta"] = "true"
    if path.rstrip("/").endswith("/count_tokens"):
        call.operation = "count_tokens"
        return call
    call.stream = bodies.flag(found, "stream")
    call.max_output = bodies.whole(found, "max_tokens", 0, 2**53)
    if call.max_output is None:
        raise invalid("max_tokens", "Field required")
    return call


def edit(call: Call, model: str) -> bytes:
    """The client's own body with the upstream's model name in it."""
    if call.model_span is None or model == call.model:
        return call.body
    return splice(call.body, [(*call.model_span, orjson.dumps(model))])


def count_tokens_answer(call: Call) -> bytes:
    """The answer to `count_tokens` where no provider can be asked: the estimate."""
    return orjson.dumps({"input_tokens": max(1, call.prompt_tokens)})


def _tokens(found: Peek) -> int:
    """An estimate of the prompt's tokens: a quarter of the bytes of its text."""
    spans = [span for name in _COUNTED if (span := found.span(name))]
    size = sum(count_text(found.body, span.start, span.end) for span in spans)
    return max(1, -(-size // BYTES_PER_TOKEN))


def _user(found: Peek) -> str:
    """`metadata.user_id`, which clients such as Claude Code keep the same throughout a session."""
    raw = found.raw(b"metadata")
    if raw is None or raw == b"null":
        return ""
    if not raw.startswith(b"{"):
        raise bodies.wrong("metadata", "an object", raw)
    user = orjson.loads(raw).get("user_id")
    return user if isinstance(user, str) else ""


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    version = headers.get("anthropic-version", "") or FIRST
    if not is_version(version):
        raise invalid("anthropic-version", f"{version[:40]!r} is not a valid version; use a date such as {FIRST}.")
    return {"anthropic-version": version} | {name: headers[name] for name in FORWARDED if name in headers}
