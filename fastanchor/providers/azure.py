"""Azure OpenAI: OpenAI's dialects under a deployment's path, with an `api-key` header and a dated api-version.

The channel's base URL is the resource (`https://NAME.openai.azure.com`); the upstream model name is the deployment.
Option `api_version` (default below); `v1` selects the newer surface without deployments in the path.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from fastanchor.core.channel import Channel, Secret
from fastanchor.providers.contract import Upstream
from fastanchor.providers.openai import PATHS, OpenAI

API_VERSION = "2024-10-21"


class Azure(OpenAI):
    """The `azure` provider."""

    name = "azure"

    def _credential(self, key: Secret | None) -> list[tuple[bytes, bytes]]:
        return [(b"api-key", key.encode())] if key is not None else []

    def _target(self, channel: Channel, dialect: str, model: str) -> bytes:
        version = channel.options.get("api_version", API_VERSION)
        if version == "v1" or dialect == "openai_responses":
            return f"{channel.prefix}/openai/v1".encode() + PATHS[dialect]
        path = f"{channel.prefix}/openai/deployments/{quote(model, safe='')}".encode() + PATHS[dialect]
        return path + f"?api-version={version}".encode()

    def below(
        self, channel: Channel, key: Secret | None, method: bytes, path: str, extra: Mapping[str, str]
    ) -> Upstream:
        """Below the newer surface, or with the version in the query."""
        version = channel.options.get("api_version", API_VERSION)
        dated = path + ("&" if "?" in path else "?") + f"api-version={version}"
        return super().below(channel, key, method, f"/openai/v1{path}" if version == "v1" else f"/openai{dated}", extra)

    def _spoken(self, channel: Channel) -> tuple[str, ...]:
        return super()._spoken(channel) if "dialects" in channel.options else tuple(PATHS)
