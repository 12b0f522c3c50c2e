"""The dialects by name, and the dialect that each endpoint of the data plane speaks.

A dialect's package is loaded when it is first asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module

from fastanchor.core.call import Operation
from fastanchor.dialects.contract import Dialect

DIALECTS = (
    "openai_chat", "openai_completions", "openai_embeddings", "openai_responses", "anthropic", "gemini", "anchor",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: its name in scopes, logs and metrics, the dialect of its bodies, and what it does."""

    name: str
    dialect: str
    operation: Operation


ENDPOINTS: dict[bytes, Endpoint] = {  # all of them POST
    b"/v1/chat/completions": Endpoint("chat.completions", "openai_chat", "chat"),
    b"/v1/responses": Endpoint("responses", "openai_responses", "chat"),
    b"/v1/completions": Endpoint("completions", "openai_completions", "chat"),
    b"/v1/embeddings": Endpoint("embeddings", "openai_embeddings", "embeddings"),
    b"/v1/messages": Endpoint("messages", "anthropic", "chat"),
    b"/v1/messages/count_tokens": Endpoint("messages.count_tokens", "anthropic", "count_tokens"),
    b"/v1/chat": Endpoint("chat", "anchor", "chat"),
    b"/api/v1/chat": Endpoint("chat", "anchor", "chat"),
}

STORED = b"/v1/responses/"
"""Below it: responses that were kept, by their id."""

GEMINI_ROOTS = (b"/v1beta/models/", b"/v1/models/", b"/v1alpha/models/")
GEMINI_VERBS = {
    b"generateContent": Endpoint("generateContent", "gemini", "chat"),
    b"streamGenerateContent": Endpoint("streamGenerateContent", "gemini", "chat"),
    b"countTokens": Endpoint("countTokens", "gemini", "count_tokens"),
    b"embedContent": Endpoint("embedContent", "gemini", "embeddings"),
    b"batchEmbedContents": Endpoint("batchEmbedContents", "gemini", "embeddings"),
}


def endpoint(method: bytes, path: bytes) -> Endpoint | None:
    """The endpoint at a method and a path (no query), or None when it is none of these."""
    return _at(path) if method == b"POST" else None


def methods(path: bytes) -> tuple[bytes, ...]:
    """The methods that a path takes here; () when it is none of these."""
    if path.startswith(STORED) and b"/" not in path[len(STORED) :]:
        return (b"GET", b"DELETE")
    return () if _at(path) is None else (b"POST",)


def _at(path: bytes) -> Endpoint | None:
    fixed = ENDPOINTS.get(path)
    if fixed is not None or not path.startswith(GEMINI_ROOTS):
        return fixed
    model, colon, verb = path.replace(b"%3A", b":").replace(b"%3a", b":").rpartition(b":")
    return GEMINI_VERBS.get(verb) if colon and not model.endswith(b"/") else None


@cache
def dialect(name: str) -> Dialect:
    """The dialect of that name. Raises KeyError for an unknown one."""
    if name not in DIALECTS:
        raise KeyError(name)
    made: Dialect = import_module(f"fastanchor.dialects.{name}").DIALECT
    return made
