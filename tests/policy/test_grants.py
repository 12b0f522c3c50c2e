"""A grant is a part of the grantor's rights: what is wider in any respect is refused, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import Plan, Principal
from fastanchor.policy.grants import LIMITS, Grant, by_key, by_operator, checked

NOW = 1_780_000_000.0
ADMIN = Principal(
    "k1", "k1", "acme", frozenset({"admin"}), models=("gpt-*", "claude-3"), endpoints=("/v1/chat/*",),
    plan=Plan("pro", requests_per_minute=60), limits=Plan("k1", requests_per_minute=10, tokens_per_day=1_000),
    expires=NOW + 1_000, addresses=("10.0.0.0/8", "2001:db8::/32"),
)
FREE_ADMIN = Principal("k2", "k2", "acme", frozenset({"admin"}))

WIDER: list[dict[str, Any]] = [
    {"organization": "evil"},
    {"plan": "enterprise"},
    {"models": ()},
    {"models": ("*",)},
    {"models": ("gpt-4", "claude-4")},
    {"models": ("g*",)},
    {"models": ("gpt-[4]*x", "claude-?")},
    {"endpoints": ()},
    {"endpoints": ("/v1/*",)},
    {"limits": Plan("", requests_per_minute=11)},
    {"limits": Plan("", tokens_per_day=2_000)},
    {"expires": NOW + 1_001},
    {"addresses": ()},
    {"addresses": ("10.0.0.0/7",)},
    {"addresses": ("10.1.0.0/16", "192.168.0.0/16")},
    {"addresses": ("::/0",)},
]

WITHIN: list[dict[str, Any]] = [
    {},
    {"organization": "acme", "plan": "pro"},
    {"models": ("gpt-*",)},
    {"models": ("gpt-4*", "gpt-4o", "claude-3")},
    {"endpoints": ("/v1/chat/completions",)},
    {"limits": Plan("", requests_per_minute=10)},
    {"limits": Plan("", requests_per_minute=1, tokens_per_day=1, concurrent_requests=5)},
    {"expires": NOW + 1},
    {"addresses": ("10.1.2.3/32", "2001:db8:1::/48")},
    {"scopes": frozenset({"inference", "training", "admin"})},
]


@pytest.mark.parametrize("asked", WIDER, ids=str)
def test_what_is_wider_is_refused_by_name(asked: dict[str, Any]) -> None:
    with pytest.raises(Fault) as caught:
        by_key(checked(Grant("new", **asked), NOW), ADMIN)
    assert caught.value.kind is Kind.PERMISSION_DENIED
    (field,) = asked
    assert caught.value.param in (field, "requests_per_minute", "tokens_per_day")


@pytest.mark.parametrize("asked", WITHIN, ids=range(len(WITHIN)))
def test_what_lies_within_is_granted_as_asked(asked: dict[str, Any]) -> None:
    granted = by_key(checked(Grant("new", **asked), NOW), ADMIN)
    for name in asked.keys() - {"limits"}:
        assert getattr(granted, name) == asked[name]


def test_what_is_left_out_is_the_grantors_own() -> None:
    granted = by_key(Grant("new"), ADMIN)
    assert granted == Grant(
        "new", "acme", frozenset({"inference"}), ADMIN.models, ADMIN.endpoints, "pro", ADMIN.limits, ADMIN.expires,
        ADMIN.addresses,
    )


def test_limits_of_the_grantor_hold_where_the_grant_names_none() -> None:
    granted = by_key(Grant("new", limits=Plan("", requests_per_minute=5)), ADMIN)
    assert granted.limits is not None
    assert (granted.limits.requests_per_minute, granted.limits.tokens_per_day) == (5, 1_000)


def test_a_key_without_bounds_may_set_any() -> None:
    asked = Grant("new", models=("a",), endpoints=("/b",), limits=Plan("", tokens_per_day=1), expires=NOW + 9,
                  addresses=("10.0.0.0/8",))
    granted = by_key(asked, FREE_ADMIN)
    assert (granted.models, granted.endpoints, granted.limits) == (asked.models, asked.endpoints, asked.limits)


def test_a_key_without_admin_grants_nothing() -> None:
    with pytest.raises(Fault, match="admin"):
        by_key(Grant("new"), replace(ADMIN, scopes=frozenset({"inference", "models", "training"})))


@given(st.lists(st.text("ab*?[]-", min_size=1, max_size=6), min_size=1, max_size=3),
       st.lists(st.text("ab*-", min_size=1, max_size=6), min_size=1, max_size=3), st.text("ab-", max_size=8))
def test_no_granted_pattern_lets_a_name_through_that_the_grantor_may_not_use(
    own: list[str], asked: list[str], name: str
) -> None:
    grantor = replace(FREE_ADMIN, models=tuple(own))
    try:
        granted = by_key(Grant("new", models=tuple(asked)), grantor)
    except Fault:
        return
    child = Principal("c", "c", "acme", models=granted.models or ())
    assert not child.allows_model(name) or grantor.allows_model(name)


@pytest.mark.parametrize(
    ("field", "grant"),
    [
        ("name", Grant("")),
        ("name", Grant("x" * 201)),
        ("name", Grant("a\nb")),
        ("scopes", Grant("n", scopes=frozenset())),
        ("scopes", Grant("n", scopes=frozenset({"root"}))),
        ("models", Grant("n", models=("",))),
        ("models", Grant("n", models=("m",) * 1_001)),
        ("endpoints", Grant("n", endpoints=("x" * 201,))),
        ("requests_per_minute", Grant("n", limits=Plan("", requests_per_minute=-1))),
        ("tokens_per_month", Grant("n", limits=Plan("", tokens_per_month=1 << 40))),
        ("expires", Grant("n", expires=NOW)),
        ("expires", Grant("n", expires=float("nan"))),
        ("expires", Grant("n", expires=float("inf"))),
        ("addresses", Grant("n", addresses=("10.0.0.300",))),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(field: str, grant: Grant) -> None:
    with pytest.raises(Fault) as caught:
        checked(grant, NOW)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, field)


def test_networks_are_kept_in_one_form() -> None:
    assert checked(Grant("n", addresses=("10.1.2.3/8", "::1")), NOW).addresses == ("10.0.0.0/8", "::1/128")


def test_an_operator_grants_everything_unless_told_otherwise() -> None:
    granted = by_operator(Grant("n"))
    assert granted == Grant("n", "default", frozenset({"inference"}), (), (), "", None, None, ())


def test_every_limit_of_a_plan_is_known_here() -> None:
    assert set(LIMITS) == {
        "requests_per_minute", "requests_per_day", "tokens_per_minute", "tokens_per_hour", "tokens_per_day",
        "tokens_per_month", "concurrent_requests", "max_tokens_per_request",
    }
