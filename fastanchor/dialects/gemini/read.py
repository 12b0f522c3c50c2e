"""A Gemini request as a Call: the model and the verb from the path, and a peek at the body.

Private options of the call: `verb`, and `framing` of a stream ("sse" with `alt=sse`, else "array": one JSON array).
"""

from __future__ import annotations

import re
from typing import TypeAlias
from urllib.parse import parse_qs, unquote

import orjson

from fastanchor._speedups.peek import Peek, count_text, peek
from fastanchor.core.call import Call, Operation
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import body as bodies

NAME = "gemini"
BYTES_PER_TOKEN = 4
MAX_OUTPUT = 10_000_000  # tokens; more is a mistake
MAX_CANDIDATES = 128

VERBS: dict[str, Operation] = {
    "generateContent": "chat",
    "streamGenerateContent": "chat",
    "countTokens": "count_tokens",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
}
REQUIRED = {
    "generateContent": ("contents",),
    "streamGenerateContent": ("contents",),
    "countTokens": ("contents", "generateContentRequest"),
    "embedContent": ("content",),
    "batchEmbedContents": ("requests",),
}
"""The member each verb cannot do without (one of them)."""

_PATH = re.compile(r"/(?:v1|v1beta|v1alpha)/models/(?P<model>[^/].*):(?P<verb>[A-Za-z]+)")
_WANTED = (
    b"contents", b"content", b"requests", b"generateContentRequest", b"generate_content_request",
    b"systemInstruction", b"system_instruction", b"tools",
    b"generationConfig", b"generation_config", b"cachedContent", b"cached_content",
)  # fmt: skip
_CONFIG = (b"maxOutputTokens", b"max_output_tokens", b"candidateCount", b"candidate_count")

Span: TypeAlias = tuple[int, int]


def read(body: bytes, path: str, query: str) -> Call:
    """Raises Fault: NOT_FOUND for a path that is none of Gemini's, INVALID_REQUEST for the body."""
    match = _PATH.fullmatch(unquote(path))
    if match is None or match["verb"] not in VERBS:
        raise Fault(Kind.NOT_FOUND)
    verb, found = match["verb"], bodies.members(body, _WANTED)
    _required(found, REQUIRED[verb])
    config = _config(found)
    alt = parse_qs(query).get("alt", [""])[-1]
    return Call(
        dialect=NAME,
        model=match["model"],
        body=body,
        stream=verb == "streamGenerateContent",
        operation=VERBS[verb],
        max_output=_whole(config, ("maxOutputTokens", "max_output_tokens"), MAX_OUTPUT),
        choices=_whole(config, ("candidateCount", "candidate_count"), MAX_CANDIDATES) or 1,
        prompt_tokens=_estimate(found),
        affinity=_text(found, ("cachedContent", "cached_content")),
        options={"verb": verb, "framing": "sse" if alt == "sse" else "array"},
    )


def count_tokens_answer(call: Call) -> bytes:
    """The answer to `countTokens` where no provider can be asked: the estimate."""
    return orjson.dumps({"totalTokens": call.prompt_tokens})


def _required(found: Peek, names: tuple[str, ...]) -> None:
    """One of the names must be there, and hold an object or an array that is not empty."""
    for name in names:
        spelled = name if found.span(name.encode()) else _snake(name)
        raw = found.raw(spelled.encode())
        if raw is None or raw == b"null":
            continue
        if not raw.startswith((b"[", b"{")):
            raise bodies.wrong(spelled, "an array" if names[0] != "content" else "an object", raw)
        if not raw[1:-1].strip():
            raise Fault(Kind.INVALID_REQUEST, f"Invalid '{spelled}': it is empty.", param=spelled)
        return
    raise Fault(Kind.INVALID_REQUEST, f"Missing required parameter: '{names[0]}'.", param=names[0])


def _config(found: Peek) -> Peek | None:
    for name in ("generationConfig", "generation_config"):
        raw = found.raw(name.encode())
        if raw is None or raw == b"null":
            continue
        if not raw.startswith(b"{"):
            raise bodies.wrong(name, "an object", raw)
        return peek(raw, _CONFIG)
    return None


def _whole(config: Peek | None, names: tuple[str, ...], high: int) -> int | None:
    """A count of at least 1, None when it is absent; proto3 JSON also takes it as a string."""
    for name in names:
        raw = config.raw(name.encode()) if config else None
        if raw is None or raw == b"null":
            continue
        digits = raw.strip(b'"').removesuffix(b".0")
        where = f"generationConfig.{name}"
        if not digits.isdigit() or len(digits) > 12:
            raise bodies.wrong(where, "a positive integer", raw)
        value = int(digits)
        if not 1 <= value <= high:
            raise Fault(Kind.INVALID_REQUEST, f"Invalid '{where}': it must be 1 to {high}, not {value}.", param=where)
        return value
    return None


def _text(found: Peek, names: tuple[str, ...]) -> str:
    for name in names:
        if value := bodies.optional_text(found, name):
            return value
    return ""


def _estimate(found: Peek) -> int:
    """Prompt tokens: a quarter of the bytes of all texts; inline data does not count."""
    names = ("contents", "content", "requests", "generateContentRequest", "systemInstruction", "system_instruction",
             "tools")  # fmt: skip
    spans = (found.span(name.encode()) for name in names)
    size = sum(count_text(found.body, span.start, span.end) for span in spans if span is not None)
    return max(1, size // BYTES_PER_TOKEN)


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), name)
