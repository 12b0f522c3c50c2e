"""Requests to Anthropic: path, key, version, betas, and what of the client's headers goes along."""

from __future__ import annotations

from typing import Any

import pytest

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.core.faults import Fault
from fastanchor.providers.anthropic import Anthropic
from fastanchor.providers.contract import Upstream

KEY = Secret("sk-ant-secret")
BODY = b'{"model":"m","max_tokens":1,"messages":[]}'


def channel(base_url: str = "https://api.anthropic.com", **members: Any) -> Channel:
    return Channel("a", "anthropic", base_url, (KEY,), **members)


def asked(of: Channel, body: bytes = BODY, key: Secret | None = KEY, extra: dict[str, str] | None = None,
          dialect: str = "anthropic", **members: Any) -> Upstream:  # fmt: skip
    call = Call(dialect, "m", b"{}", **members)
    return Anthropic().upstream(of, key, "anthropic", call, "m", body, extra or {})


def header(upstream: Upstream, name: bytes) -> bytes | None:
    values = [value for field, value in upstream.headers if field == name]
    assert len(values) <= 1
    return values[0] if values else None


@pytest.mark.parametrize(
    ("base_url", "target"),
    [
        ("https://api.anthropic.com", b"/v1/messages"),
        ("https://api.anthropic.com/v1", b"/v1/messages"),
        ("https://x.org/anthropic/", b"/anthropic/v1/messages"),
    ],
)
def test_the_base_url_may_name_the_version_or_not(base_url: str, target: bytes) -> None:
    assert asked(channel(base_url)).target == target


def test_count_tokens_and_betas_in_the_query() -> None:
    members: dict[str, Any] = {"operation": "count_tokens", "options": {"beta": "true"}}
    assert asked(channel(), **members).target == b"/v1/messages/count_tokens?beta=true"
    assert asked(channel(), dialect="openai_chat", **members).target == b"/v1/messages/count_tokens"


def test_the_key_goes_as_x_api_key_or_bearer() -> None:
    upstream = asked(channel())
    assert header(upstream, b"x-api-key") == KEY.encode()
    assert header(upstream, b"authorization") is None
    upstream = asked(channel(options={"auth": "bearer"}))
    assert header(upstream, b"authorization") == b"Bearer " + KEY.encode()
    assert header(upstream, b"x-api-key") is None
    upstream = asked(channel(), key=None)
    assert header(upstream, b"x-api-key") is None
    assert "secret" not in repr(asked(channel()))


@pytest.mark.parametrize(
    ("dialect", "headers", "options", "body", "version"),
    [
        ("anthropic", {"anthropic-version": "2026-10-21"}, {}, BODY, b"2026-10-21"),
        ("anthropic", {"anthropic-version": "2023-06-01"}, {}, BODY, b"2023-06-01"),
        ("openai_chat", {}, {}, BODY, b"2026-10-21"),
        ("openai_chat", {}, {}, b'{"model":"m","temperature":0.5}', b"2023-06-01"),
        ("openai_chat", {}, {"anthropic_version": "2023-01-01"}, BODY, b"2023-01-01"),
        ("anthropic", {"anthropic-version": "2026-10-21"}, {"anthropic_version": "2023-06-01"}, BODY, b"2023-06-01"),
    ],
)
def test_the_version_is_the_operators_the_clients_or_what_the_body_needs(
    dialect: str, headers: dict[str, str], options: dict[str, str], body: bytes, version: bytes
) -> None:
    upstream = asked(channel(options=options), body, dialect=dialect, headers=headers)
    assert header(upstream, b"anthropic-version") == version


def test_betas_of_client_and_operator_are_joined() -> None:
    of = channel(headers={"anthropic-beta": "b,c", "x-extra": "1"})
    upstream = asked(of, headers={"anthropic-beta": "a, b"})
    assert header(upstream, b"anthropic-beta") == b"a,b,c"
    assert header(upstream, b"x-extra") == b"1"
    assert header(asked(of, dialect="openai_chat"), b"anthropic-beta") == b"b,c"


def test_only_the_headers_on_the_list_go_along() -> None:
    sent = {"cookie": "c", "x-api-key": "theirs", "authorization": "theirs", "user-agent": "u", "x-stainless-os": "l",
            "anthropic-workspace-id": "w"}  # fmt: skip
    upstream = asked(channel(), extra=sent)
    assert {name for name, _ in upstream.headers} == {
        b"content-type", b"accept", b"anthropic-version", b"x-api-key", b"anthropic-workspace-id",
    }  # fmt: skip
    assert header(upstream, b"x-api-key") == KEY.encode()


def test_what_is_accepted_follows_the_stream() -> None:
    assert header(asked(channel(), stream=True), b"accept") == b"text/event-stream"
    assert header(asked(channel()), b"accept") == b"application/json"


def test_it_speaks_messages_and_offers_no_embeddings() -> None:
    assert Anthropic().dialect(channel(), Call("openai_chat", "m", b"")) == "anthropic"
    with pytest.raises(Fault) as caught:
        Anthropic().dialect(channel(), Call("openai_embeddings", "m", b"", operation="embeddings"))
    assert caught.value.status == 400
    assert Anthropic().quirks(channel(options={"quirks": "a,b"}), "m") == {"a", "b"}
