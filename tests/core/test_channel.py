"""A channel knows its address, and which of its models a public name means."""

from __future__ import annotations

import pytest

from fastanchor.core.channel import Channel, Secret


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "prefix"),
    [
        ("https://api.openai.com/v1", "https", "api.openai.com", 443, "/v1"),
        ("http://127.0.0.1:8000", "http", "127.0.0.1", 8000, ""),
        ("http://[::1]:9/a/b", "http", "::1", 9, "/a/b"),
    ],
)
def test_address(url: str, scheme: str, host: str, port: int, prefix: str) -> None:
    channel = Channel("c", "openai", url)
    assert (channel.scheme, channel.host, channel.port, channel.prefix) == (scheme, host, port, prefix)


@pytest.mark.parametrize(
    ("model", "upstream"),
    [
        ("exact", "there"),
        ("gpt-4o", "gpt-4o"),  # a glob to a glob keeps the name
        ("old-3", "newest"),  # a glob to a name
        ("other", None),
    ],
)
def test_names_are_mapped(model: str, upstream: str | None) -> None:
    channel = Channel("c", "openai", "http://x", models={"exact": "there", "gpt-*": "gpt-*", "old-*": "newest"})
    assert channel.upstream_model(model) == upstream


def test_an_exact_name_wins_over_a_glob() -> None:
    channel = Channel("c", "openai", "http://x", models={"gpt-*": "gpt-*", "gpt-4o": "gpt-4o-2024-08-06"})
    assert channel.upstream_model("gpt-4o") == "gpt-4o-2024-08-06"


def test_any_model_takes_every_name() -> None:
    assert Channel("c", "openai", "http://x", any_model=True).upstream_model("whatever") == "whatever"


def test_a_secret_does_not_show_itself() -> None:
    assert "hush" not in repr(Channel("c", "openai", "http://x", keys=(Secret("hush"),)))
