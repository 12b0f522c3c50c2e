"""The providers by name."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from fastanchor.providers.contract import Provider

PROVIDERS = {
    "openai": ("fastanchor.providers.openai", "OpenAI"),
    "anthropic": ("fastanchor.providers.anthropic", "Anthropic"),
    "gemini": ("fastanchor.providers.gemini", "Gemini"),
    "azure": ("fastanchor.providers.azure", "Azure"),
    "bedrock": ("fastanchor.providers.bedrock", "Bedrock"),
    "demo": ("fastanchor.providers.polyglot", "Polyglot"),
}


@cache
def provider(name: str) -> Provider:
    """The provider of that name, loaded when first asked for. Raises KeyError for an unknown one."""
    module, cls = PROVIDERS[name]
    made: Provider = getattr(import_module(module), cls)()
    return made
