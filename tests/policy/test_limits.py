"""From a plan to the limits of one request, and from a refusal to its fault and its headers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor._speedups._bucket_pure import Claim
from fastanchor._speedups.bucket import BALANCE, GAUGE, NEVER, NOT_OPEN, RATE, WINDOW
from fastanchor.core.call import Call, Operation
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.model import ModelCard, PriceTier
from fastanchor.core.principal import Plan, Principal
from fastanchor.core.usage import Usage
from fastanchor.policy import limits
from fastanchor.policy.limit_headers import LimitHeaders, dollars
from fastanchor.policy.limits import DEFAULT_OUTPUT, RULES, Demand, Frame, demand, out_of_credits, rate_limited, terms
from fastanchor.policy.pricing import cost
from fastanchor.policy.strangers import address_owner, too_many_failures
from fastanchor.policy.windows import windows

NOW = datetime(2026, 2, 28, 23, 59, 30, tzinfo=UTC).timestamp()
CARD = ModelCard("m", max_output=1_000, prices=(PriceTier(0, input=2_000_000, output=8_000_000),))


def principal(own: Plan | None = None, **limits: Any) -> Principal:
    return Principal("k", "k", "acme", plan=Plan("free", **limits), limits=own)


def call(prompt: int = 10, asked: int | None = None, choices: int = 1, operation: Operation = "chat") -> Call:
    return Call("openai_chat", "m", b"", prompt_tokens=prompt, max_output=asked, choices=choices, operation=operation)


@pytest.mark.parametrize("name", [rule.name for rule in RULES] + ["max_tokens_per_request"])
@pytest.mark.parametrize(("plan", "own", "cap"), [(0, 0, 0), (5, 0, 5), (0, 7, 7), (5, 7, 5), (7, 5, 5)])
def test_the_narrower_of_plan_and_key_holds(name: str, plan: int, own: int, cap: int) -> None:
    limits: dict[str, Any] = {name: own}
    compiled = terms(principal(Plan("own", **limits), **{name: plan}))
    caps = {bound.rule.name: bound.cap for bound in compiled.bounds} | {"max_tokens_per_request": compiled.max_tokens}
    assert caps.get(name, 0) == cap


KEY, ORGANIZATION = b"k" * 16, b"o" * 16


def taken(claim: Any, tokens: int) -> Any:
    """The limits of a claim, as the pure half fills them in for a request that costs 7."""
    return Claim(claim.owner, claim._limits, claim.keep).filled((1, tokens, 7))


@pytest.fixture
def pure_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "Claim", Claim)


@pytest.mark.usefixtures("pure_claims")
def test_limits_come_in_the_order_of_the_terms_with_their_windows() -> None:
    everything = terms(principal(**{rule.name: 10 + n for n, rule in enumerate(RULES)}))
    calendar = windows(NOW)
    (claim,) = Frame(everything, KEY, ORGANIZATION, calendar).claims
    assert taken(claim, 99) == [
        (GAUGE, 10, 1, 0),
        (RATE, 11, 1, 0),
        (RATE + 1, 12, 99, 0),
        (WINDOW, 13, 1, calendar.day),
        (WINDOW + 1, 14, 99, calendar.hour),
        (WINDOW + 2, 15, 99, calendar.day),
        (WINDOW + 3, 16, 99, calendar.month),
    ]
    assert claim.owner == KEY


@pytest.mark.usefixtures("pure_claims")
def test_an_organisations_limits_and_credits_are_taken_after_the_keys() -> None:
    who = replace(principal(requests_per_minute=5), shared=Plan("acme", requests_per_minute=9, credits=0))
    own, shared = Frame(terms(who), KEY, ORGANIZATION, windows(NOW)).claims
    assert (own.owner, taken(own, 99)) == (KEY, [(RATE, 5, 1, 0)])
    assert (shared.owner, taken(shared, 99)) == (ORGANIZATION, [(RATE, 9, 1, 0), (BALANCE, 0, 7, 0)])


def test_a_claim_counts_until_its_longest_window_has_ended() -> None:
    calendar = windows(NOW - 5 * 86_400)

    def keep(**limits: Any) -> int:
        return Frame(terms(principal(**limits)), KEY, ORGANIZATION, calendar).claims[0].keep

    assert keep(tokens_per_month=5, tokens_per_hour=5) == calendar.month_end * 10**9
    assert keep(requests_per_minute=5) > calendar.hour_end * 10**9


def test_a_request_larger_than_its_organisation_allows_is_refused_by_that_name() -> None:
    who = replace(principal(max_tokens_per_request=100), shared=Plan("acme", max_tokens_per_request=50))
    with pytest.raises(Fault, match="organization 'acme' allows max_tokens_per_request = 50"):
        demand(call(10, 60), terms(who), None)
    who = replace(principal(tokens_per_day=100), shared=Plan("acme", tokens_per_minute=50))
    with pytest.raises(Fault, match="organization 'acme' allows tokens_per_minute = 50"):
        demand(call(10, 60), terms(who), None)


def test_a_refusal_by_the_organisation_names_it() -> None:
    who = replace(principal(requests_per_minute=5), shared=Plan("acme", requests_per_minute=9))
    fault = rate_limited(terms(who), 1, 2_000_000_000, windows(NOW), NOW)
    assert "requests_per_minute = 9 (organization 'acme')" in fault.message


@pytest.mark.parametrize(("remaining", "limit"), [([3, 2], b"9"), ([2, 3], b"5"), ([2, 2], b"5")])
def test_of_the_keys_and_its_organisations_limit_the_one_that_leaves_less_is_told(
    remaining: list[int], limit: bytes
) -> None:
    who = replace(principal(requests_per_minute=5), shared=Plan("acme", requests_per_minute=9))
    fields = dict(LimitHeaders(terms(who), anthropic=False).fields(remaining, None, windows(NOW), NOW))
    assert (fields[b"x-ratelimit-limit"], fields[b"x-ratelimit-remaining"]) == (limit, b"2")


@pytest.mark.parametrize(
    ("asked", "choices", "card", "tokens"),
    [
        (50, 1, None, 60),
        (50, 3, None, 160),
        (None, 1, None, 10 + DEFAULT_OUTPUT),
        (None, 1, CARD, 1_010),
        (0, 1, CARD, 10),
        (-5, -1, CARD, 10),
    ],
)
def test_a_request_demands_its_prompt_and_all_it_may_generate(
    asked: int | None, choices: int, card: ModelCard | None, tokens: int
) -> None:
    assert demand(call(10, asked, choices), terms(principal()), card).tokens == tokens


def test_the_price_of_a_demand_is_that_of_all_its_tokens() -> None:
    wanted = demand(call(10, 50, 2), terms(replace(principal(), plan=Plan("p", markup=100_000))), CARD)
    assert wanted.cost == cost(CARD, Usage(input=10, output=100), 100_000) == 902


def test_a_cache_that_costs_more_than_plain_input_is_reserved_for() -> None:
    dear = ModelCard("m", prices=(PriceTier(0, input=2_000_000, output=8_000_000, cache_write_1h=4_000_000),))
    reserved = demand(call(100, 50), terms(principal()), dear).cost
    assert reserved >= cost(dear, Usage(input=100, output=50, cache_write=100, cache_write_1h=100))


@given(
    prompt=st.integers(-5, 10**9), asked=st.none() | st.integers(-(2**70), 2**70), choices=st.integers(-3, 2**63),
    cap=st.integers(0, 10**6), most=st.integers(0, 10**6), lower=st.booleans(),
)
def test_no_demand_is_negative_or_above_a_limit(
    prompt: int, asked: int | None, choices: int, cap: int, most: int, lower: bool
) -> None:
    held = terms(principal(tokens_per_minute=cap, max_tokens_per_request=most, cap_max_tokens=lower))
    try:
        wanted = demand(call(prompt, asked, choices), held, CARD)
    except Fault as fault:
        refusal: Fault | None = fault
    else:
        refusal = None
    if refusal is not None:
        assert refusal.kind is Kind.INVALID_REQUEST
        assert "tokens_per_minute" in refusal.message or "max_tokens_per_request" in refusal.message
        return
    assert wanted.cost >= 0
    assert wanted.tokens >= 0
    assert not cap or wanted.tokens <= cap
    assert not most or prompt <= most


def test_too_large_a_max_tokens_is_refused_by_name() -> None:
    with pytest.raises(Fault, match=r"5000 tokens; the plan 'free' allows max_tokens_per_request = 2048") as caught:
        demand(call(10, 5_000), terms(principal(max_tokens_per_request=2_048)), None)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, "max_tokens")


@pytest.mark.parametrize(("asked", "held"), [(5_000, 2_048), (None, 2_048), (2_048, None), (5, None)])
def test_a_capping_plan_holds_the_answer_to_its_cap(asked: int | None, held: int | None) -> None:
    wanted = demand(call(10, asked), terms(principal(max_tokens_per_request=2_048, cap_max_tokens=True)), None)
    assert wanted.max_output == held
    assert wanted.tokens == 10 + (held or asked or 0)


def test_a_prompt_longer_than_a_request_may_be_is_refused_even_by_a_capping_plan() -> None:
    with pytest.raises(Fault, match="about 3000 tokens"):
        demand(call(3_000), terms(principal(max_tokens_per_request=2_048, cap_max_tokens=True)), None)


def test_a_request_that_no_wait_could_admit_is_too_large_and_not_too_fast() -> None:
    held = terms(principal(tokens_per_minute=100, tokens_per_day=50))
    with pytest.raises(Fault, match="tokens_per_day = 50") as caught:
        demand(call(10, 60), held, None)
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert demand(call(10), held, None).tokens == 50  # an estimate nobody asked for is cut


@pytest.mark.parametrize(("operation", "tokens"), [("count_tokens", 0), ("embeddings", 10)])
def test_operations_that_generate_nothing_demand_no_output(operation: Operation, tokens: int) -> None:
    wanted = demand(call(10, 500, operation=operation), terms(principal()), None)
    assert wanted == Demand(tokens, 0)


def test_a_refused_rate_says_exactly_how_long() -> None:
    fault = rate_limited(terms(principal(requests_per_minute=5)), 0, 12_000_000_000, windows(NOW), NOW)
    assert (fault.kind, fault.retry_after) == (Kind.RATE_LIMIT, 12.0)
    assert "requests_per_minute = 5" in fault.message


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("tokens_per_hour", 30), ("requests_per_day", 30), ("tokens_per_month", 30), ("concurrent_requests", 1)],
)
def test_a_refused_window_says_when_it_ends(name: str, seconds: float) -> None:
    fault = rate_limited(terms(principal(**{name: 5})), 0, NEVER, windows(NOW), NOW)
    assert fault.retry_after == seconds
    assert name in fault.message


def test_used_up_credits_are_no_matter_of_waiting() -> None:
    assert (out_of_credits(NEVER).kind, out_of_credits(NEVER).retry_after) == (Kind.INSUFFICIENT_QUOTA, None)
    assert out_of_credits(NOT_OPEN).status == 503


def told(remaining: list[int], balance: int | None, *, anthropic: bool, **limits: Any) -> dict[bytes, bytes]:
    form = LimitHeaders(terms(principal(**limits)), anthropic=anthropic)
    return dict(form.fields(remaining, balance, windows(NOW), NOW))


def test_openai_clients_are_told_in_durations() -> None:
    fields = told([40, 9_000], 45_239_999, anthropic=False, requests_per_minute=60, tokens_per_minute=10_000)
    assert fields == {
        b"x-ratelimit-limit": b"60",
        b"x-ratelimit-remaining": b"40",
        b"x-ratelimit-reset": b"%d" % (NOW + 20),
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"40",
        b"x-ratelimit-reset-requests": b"20s",
        b"x-ratelimit-limit-tokens": b"10000",
        b"x-ratelimit-remaining-tokens": b"9000",
        b"x-ratelimit-reset-tokens": b"6s",
        b"x-remaining-credits": b"45.23",
    }


def test_anthropic_clients_are_told_in_instants() -> None:
    fields = told([3, 10], None, anthropic=True, requests_per_day=5, tokens_per_hour=100)
    assert fields[b"anthropic-ratelimit-requests-reset"] == b"2026-03-01T00:00:00Z"
    assert fields[b"anthropic-ratelimit-tokens-remaining"] == b"10"
    assert fields[b"x-ratelimit-remaining"] == b"3"
    assert not any(name.startswith(b"x-ratelimit-limit-") for name in fields)


def test_a_plan_of_concurrent_requests_tells_those() -> None:
    fields = told([3, 10], None, anthropic=False, concurrent_requests=5, tokens_per_hour=100)
    assert (fields[b"x-ratelimit-limit"], fields[b"x-ratelimit-remaining"]) == (b"5", b"3")


def test_a_plan_without_limits_tells_nothing() -> None:
    assert told([], None, anthropic=False) == {}


@pytest.mark.parametrize(
    ("micro", "text"), [(0, b"0.00"), (9_999, b"0.00"), (10_000, b"0.01"), (5_000_000, b"5.00"), (-1, b"0.00"),
                        (-10_000, b"-0.01"), (-1_234_567, b"-1.23")]
)
def test_dollars_have_two_decimals(micro: int, text: bytes) -> None:
    assert dollars(micro) == text


def test_addresses_count_by_host_and_by_network_where_hosts_are_cheap() -> None:
    assert address_owner("10.0.0.1:1") == address_owner("10.0.0.1:2") != address_owner("10.0.0.2:1")
    assert address_owner("[2001:db8::1]:1") == address_owner("[2001:db8::ffff]:9")
    assert address_owner("[2001:db8::1]:1") != address_owner("[2001:db8:0:1::1]:1")
    assert address_owner("[::ffff:10.0.0.1]:1") == address_owner("10.0.0.1:1")
    assert address_owner("") == address_owner("unix:/x")
    assert too_many_failures(3_000_000_000).retry_after == 3.0
