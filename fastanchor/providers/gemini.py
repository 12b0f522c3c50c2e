"""Google's Gemini API, and Vertex AI where the channel says so.

`base_url` is the origin, with or without the API version (`/v1beta` when it has none); for Vertex it is the whole path
down to `…/publishers/google`, with the option `auth = "bearer"` and a token for a key. Source: ai.google.dev/api.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.providers.contract import Provider, Upstream
from fastanchor.providers.openai import forwarded

FORWARDED = ("x-goog-user-project",)
VERSION = "/v1beta"

_VERSIONED = re.compile(r".*/v\d+((alpha|beta)\d*)?(/.*)?")
_VERBS = {
    ("chat", False): "generateContent",
    ("chat", True): "streamGenerateContent",
    ("embeddings", False): "batchEmbedContents",
    ("count_tokens", False): "countTokens",
}


class Gemini(Provider):
    """The `gemini` provider."""

    name = "gemini"

    def dialect(self, channel: Channel, call: Call) -> str:
        """Always Gemini's own."""
        return "gemini"

    def upstream(
        self,
        channel: Channel,
        key: Secret | None,
        dialect: str,
        call: Call,
        model: str,
        body: bytes,
        extra: Mapping[str, str],
    ) -> Upstream:
        """POST to the model's verb. A client of this dialect gets the verb and the framing that it asked for."""
        verb = call.options.get("verb") if call.dialect == "gemini" else None
        verb = verb or _VERBS[call.operation, call.stream]
        framed = call.stream and (call.dialect != "gemini" or call.options.get("framing") == "sse")
        target = f"{_root(channel.prefix)}/{_resource(model)}:{verb}{'?alt=sse' if framed else ''}"
        headers = [(b"content-type", b"application/json")]
        if key is not None:
            bearer = channel.options.get("auth") == "bearer"
            name, prefix = (b"authorization", b"Bearer ") if bearer else (b"x-goog-api-key", b"")
            headers.append((name, prefix + key.encode()))
        headers += forwarded(extra, FORWARDED, channel)
        return Upstream(b"POST", target.encode("ascii"), tuple(headers), body)


def _root(prefix: str) -> str:
    return prefix if _VERSIONED.fullmatch(prefix) else prefix + VERSION


def _resource(model: str) -> str:
    """`models/NAME`, unless the name is a resource already (`tunedModels/…`). A name is one segment of the path."""
    kind, slash, name = model.partition("/")
    if slash and kind in ("models", "tunedModels"):
        return f"{kind}/{quote(name, safe='')}"
    return f"models/{quote(model, safe='')}"
