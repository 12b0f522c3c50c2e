"""Azure OpenAI: OpenAI's dialects under a deployment's path, with an `api-key` header and a dated api-version.

The channel's base URL is the resource (`https://NAME.openai.azure.com`); the upstream model name is the deployment.
Option `api_version` (default below); `v1` selects the newer surface without deployments in the path.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.providers.contract import Upstream
from fastanchor.providers.openai import FORWARDED, PATHS, OpenAI, forwarded

API_VERSION = "2024-10-21"


class Azure(OpenAI):
    """The `azure` provider."""

    name = "azure"

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
        """POST to the deployment's path, with the resource's key."""
        headers = [(b"content-type", b"application/json")]
        if key is not None:
            headers.append((b"api-key", key.encode()))
        headers += forwarded(extra, FORWARDED, channel)
        return Upstream(b"POST", self._target(channel, dialect, model), tuple(headers), body)

    def _target(self, channel: Channel, dialect: str, model: str) -> bytes:
        version = channel.options.get("api_version", API_VERSION)
        if version == "v1" or dialect == "openai_responses":
            return f"{channel.prefix}/openai/v1".encode() + PATHS[dialect]
        path = f"{channel.prefix}/openai/deployments/{model}".encode() + PATHS[dialect]
        return path + f"?api-version={version}".encode()

    def _spoken(self, channel: Channel) -> tuple[str, ...]:
        return tuple(PATHS)
