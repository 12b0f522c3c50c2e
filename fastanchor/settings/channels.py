"""Channels: from a table of the file to a `core.Channel` that can be dialled, and the ones made without a file.

Without any `[[channels]]` the provider keys in the environment decide: one channel for each that is set, serving that
provider's own model names; with none of them, the built-in demo provider.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from fastanchor.core.channel import Channel, Secret, Timeouts
from fastanchor.settings import schema
from fastanchor.settings.address import is_loopback
from fastanchor.settings.context import Context
from fastanchor.settings.problem import below, shown

BASE_URLS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
}

OPENAI_ENDPOINTS = ("moderations", "images", "audio", "files", "fine_tuning")

_URL = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 §5.6.2
_OURS = (
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
)  # fmt: skip

_DEFAULTS: tuple[tuple[str, tuple[str, ...], str, str | None, str, int], ...] = (
    # name, variables, provider, base URL, models, tier
    ("openai", ("OPENAI_API_KEY",), "openai", None,
     "gpt-* chatgpt-* o1* o3* o4* codex-* text-embedding-* omni-moderation-* dall-e-* whisper-* tts-* babbage-* "
     "davinci-*", 0),
    ("anthropic", ("ANTHROPIC_API_KEY",), "anthropic", None, "claude-*", 0),
    ("gemini", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), "gemini", None, "gemini-* gemma-*", 0),
    ("deepseek", ("DEEPSEEK_API_KEY",), "openai", "https://api.deepseek.com/v1", "deepseek-*", 0),
    ("groq", ("GROQ_API_KEY",), "openai", "https://api.groq.com/openai/v1",
     "llama-* meta-llama/* openai/gpt-oss-* qwen/* moonshotai/* groq/* whisper-large-*", 0),
    ("mistral", ("MISTRAL_API_KEY",), "openai", "https://api.mistral.ai/v1",
     "mistral-* ministral-* magistral-* codestral-* devstral-* pixtral-* voxtral-* open-mistral-* open-mixtral-*", 0),
    ("openrouter", ("OPENROUTER_API_KEY",), "openai", "https://openrouter.ai/api/v1", "*/*", 1),
    ("xai", ("XAI_API_KEY",), "openai", "https://api.x.ai/v1", "grok-*", 0),
)  # fmt: skip

DEMO = schema.Channel(name="demo", provider="demo", models=["demo", "demo-fast", "demo-slow", "demo-*"])


def default_channels(environ: Mapping[str, str]) -> list[schema.Channel]:
    """The channels of a file that names none."""
    found = []
    for name, variables, provider, base_url, models, tier in _DEFAULTS:
        variable = next((v for v in variables if environ.get(v)), None)
        if variable is not None:
            found.append(
                schema.Channel(
                    name=name,
                    provider=provider,  # type: ignore[arg-type]  # the table's column is typed as plain text
                    base_url=base_url,
                    keys=[f"env:{variable}"],
                    models=models.split(),
                    tier=tier,
                )
            )
    return found or [DEMO]


def wants_demo(config: schema.Config, environ: Mapping[str, str]) -> bool:
    """Whether a channel points at the built-in demo provider, which must then be started."""
    return any(c.provider == "demo" and c.base_url is None for c in config.channels or default_channels(environ))


def compile_channels(config: schema.Config, context: Context) -> tuple[Channel, ...]:
    """Every channel; problems go to the context."""
    seen: dict[str, int] = {}
    found = []
    for i, channel in enumerate(config.channels or default_channels(context.environ)):
        key = f"channels[{i}]"
        if channel.name in seen:
            context.wrong(f"{key}.name", f'"{channel.name}" is already the name of channels[{seen[channel.name]}]')
        seen.setdefault(channel.name, i)
        found.append(_channel(channel, key, context))
    return tuple(found)


def _channel(channel: schema.Channel, key: str, context: Context) -> Channel:
    compiled = Channel(
        name=channel.name,
        provider=channel.provider,
        base_url=_base_url(channel, key, context),
        keys=_keys(channel, key, context),
        models=_models(channel.models, key, context),
        any_model=channel.models == "*",
        weight=channel.weight,
        tier=channel.tier,
        timeouts=Timeouts(**{name: getattr(channel.timeouts, name) for name in channel.timeouts.__struct_fields__}),
        max_concurrency=channel.max_concurrency,
        requests_per_minute=channel.requests_per_minute,
        key_concurrency=channel.key_concurrency,
        key_requests_per_minute=channel.key_requests_per_minute,
        http2=channel.http2,
        verify_tls=channel.verify_tls,
        on_cancel=channel.on_cancel,
        headers=_headers(channel.headers, key, context),
        endpoints=_endpoints(channel),
        options=dict(channel.options),
    )
    _warn(compiled, context)
    return compiled


def _base_url(channel: schema.Channel, key: str, context: Context) -> str:
    if channel.base_url is None:
        if channel.provider != "demo" and channel.provider not in BASE_URLS:
            context.wrong(f"{key}.base_url", f"missing, expected the URL of your {channel.provider} resource")
        return context.demo_url if channel.provider == "demo" else BASE_URLS.get(channel.provider, "")
    match = _URL.fullmatch(channel.base_url)
    if match is None or "@" in channel.base_url or int(match["port"] or 0) > 65_535 or not _parses(channel.base_url):
        found = "one with a user or password" if "@" in channel.base_url else shown(channel.base_url)
        context.wrong(f"{key}.base_url", f"expected an http or https URL without user, query or fragment, got {found}")
    return channel.base_url.rstrip("/")


def _parses(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _keys(channel: schema.Channel, key: str, context: Context) -> tuple[Secret, ...]:
    if not channel.keys and channel.base_url is None and channel.provider in BASE_URLS:
        context.wrong(f"{key}.keys", f"missing, expected at least one key for {BASE_URLS[channel.provider]}")
    found: dict[Secret, int] = {}
    for i, source in enumerate(channel.keys):
        secret = context.secret(source, f"{key}.keys[{i}]")
        if secret is None:
            continue
        if secret in found:
            context.wrong(f"{key}.keys[{i}]", f"is the same key as {key}.keys[{found[secret]}]")
        found.setdefault(secret, i)
    return tuple(found)


def _models(models: schema.Models, key: str, context: Context) -> dict[str, str]:
    if isinstance(models, str):
        return {}
    if isinstance(models, list):
        return {name: name for name in models}
    if not models:
        context.wrong(f"{key}.models", "expected at least one model, got an empty table")
    for name, upstream in models.items():
        if "*" in upstream and "*" not in name:
            context.wrong(below(f"{key}.models", name), f'expected a model without "*", got {shown(upstream)}')
    return dict(models)


def _headers(headers: dict[str, str], key: str, context: Context) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, source in headers.items():
        place = below(f"{key}.headers", name)
        if not _TOKEN.fullmatch(name):
            context.wrong(place, "expected the name of a header field")
        elif name.lower() in _OURS:
            context.wrong(place, "is set by the gateway itself")
        elif name.lower() in found:
            context.wrong(place, "stands twice")
        value = context.secret(source, place, spaces=True)
        if value is not None:
            found[name.lower()] = value
    return found


def _endpoints(channel: schema.Channel) -> tuple[str, ...]:
    """What is passed through: as the file says, else what OpenAI itself has."""
    if channel.endpoints is not None:
        return tuple(channel.endpoints)
    own = channel.provider == "openai" and channel.base_url in (None, BASE_URLS["openai"])
    return OPENAI_ENDPOINTS if own else ()


def _warn(channel: Channel, context: Context) -> None:
    if context.problems:
        return  # the URL may be unreadable; warnings are for configurations that work
    if not channel.verify_tls:
        context.warnings.append(f"channel {channel.name}: TLS certificates are not verified")
    if channel.keys and channel.scheme == "http" and not is_loopback(channel.host):
        context.warnings.append(f"channel {channel.name}: keys are sent to {channel.host} without TLS")
