"""What a key may take: from a plan to the list of limits of one request, and from a refusal to its fault.

Rules:
- A key's own limit and its plan's both hold: the narrower of the two is the cap. 0 is no limit.
- An organisation's limits hold over all its keys together, beside those of each key, and are taken in the same step.
- A request reserves an estimate: its prompt, and as many tokens as it may generate (`max_tokens`; without that the
  plan's `max_tokens_per_request`, the model's most or DEFAULT_OUTPUT, whichever is least) times its choices.
- `max_tokens_per_request` bounds the prompt and the `max_tokens` of a request, each by itself. A larger `max_tokens` is
  refused, or lowered where the plan says `cap_max_tokens`; a longer prompt is refused.
- A request that no wait could admit, because it alone is larger than a limit, is refused as too large (400) and not as
  too fast (429). An estimate that the client did not ask for is cut to the limit instead.
- Credits used up are not a matter of time: 402, without a wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from fastanchor._speedups.bucket import BALANCE, GAUGE, MONEY, MOST, NOT_OPEN, RATE, REQUESTS, TOKENS, WINDOW, Claim
from fastanchor.core.call import Call
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.model import ModelCard
from fastanchor.core.principal import Plan, Principal
from fastanchor.policy.pricing import PER, tier_for
from fastanchor.policy.windows import HOUR, Windows

DEFAULT_OUTPUT: Final = 4_096
"""Tokens reserved for an answer that nothing bounds."""

BUSY_WAIT: Final = 1.0
"""Seconds a client is told to wait where nobody can know: for a place among concurrent requests, for an account."""

RATE_KEEP: Final = 120
"""Seconds after which a rate is whole again, whatever was taken (but for debts)."""

SECOND: Final = 1_000_000_000

COST_MOST: Final = 1 << 50
"""Micro-dollars that one request may cost, as far as anyone counts: a thousand million dollars."""


class Rule(NamedTuple):
    """One limit of a plan: its name there, where it is counted, and what (tokens or requests)."""

    name: str
    kind: int
    tokens: bool
    window: str  # hour, day, month or ""

    @property
    def per_minute(self) -> bool:
        return RATE <= self.kind < WINDOW


RULES: Final = (
    Rule("concurrent_requests", GAUGE, False, ""),
    Rule("requests_per_minute", RATE, False, ""),
    Rule("tokens_per_minute", RATE + 1, True, ""),
    Rule("requests_per_day", WINDOW, False, "day"),
    Rule("tokens_per_hour", WINDOW + 1, True, "hour"),
    Rule("tokens_per_day", WINDOW + 2, True, "day"),
    Rule("tokens_per_month", WINDOW + 3, True, "month"),
)


class Bound(NamedTuple):
    """A rule with its cap, and who sets it: `plan 'free'`, `organization 'acme'`."""

    rule: Rule
    cap: int
    whose: str


@dataclass(frozen=True, slots=True)
class Terms:
    """The limits of one key, compiled: `bounds` in the order in which they are taken, the key's `own` first and then
    the organisation's.

    `tightest` is the smallest cap on tokens, `max_tokens` that of one request (0: none) and `max_tokens_whose` who sets
    it; `metered`: the organisation's credits pay.
    """

    bounds: tuple[Bound, ...]
    own: int
    tightest: int
    max_tokens: int
    max_tokens_whose: str
    cap_max_tokens: bool
    metered: bool
    markup: int


class Demand(NamedTuple):
    """What one request reserves. `max_output`: what its answer must be held to, None when it already is."""

    tokens: int
    cost: int  # micro-dollars
    max_output: int | None = None


def terms(principal: Principal) -> Terms:
    """The terms of a key."""
    plan, shared = principal.plan, principal.shared
    own = _bounds(f"plan '{plan.name}'", plan, principal.limits)
    all_of_them = own if shared is None else own + _bounds(f"organization '{shared.name}'", shared, None)
    whose, max_tokens = f"plan '{plan.name}'", _narrower(plan, principal.limits, "max_tokens_per_request")
    if shared is not None and 0 < shared.max_tokens_per_request < (max_tokens or MOST):
        whose, max_tokens = f"organization '{shared.name}'", shared.max_tokens_per_request
    return Terms(
        all_of_them,
        len(own),
        min((bound.cap for bound in all_of_them if bound.rule.tokens), default=MOST),
        max_tokens,
        whose,
        plan.cap_max_tokens,
        plan.credits is not None or (shared is not None and shared.credits is not None),
        plan.markup,
    )


def _bounds(whose: str, plan: Plan, own: Plan | None) -> tuple[Bound, ...]:
    caps = ((rule, _narrower(plan, own, rule.name)) for rule in RULES)
    return tuple(Bound(rule, min(cap, MOST), whose) for rule, cap in caps if cap)


def _narrower(plan: Plan, own: Plan | None, name: str) -> int:
    cap: int = getattr(plan, name)
    other: int = 0 if own is None else getattr(own, name)
    return min(cap, other) if cap > 0 and other > 0 else max(cap, other, 0)


def demand(call: Call, terms: Terms, card: ModelCard | None) -> Demand:
    """What a call reserves under the terms, at the prices of its model's card.

    Raises:
        Fault: INVALID_REQUEST when the call alone is larger than a limit, which is named.
    """
    prompt = call.prompt_tokens if call.prompt_tokens > 0 else 0
    if call.operation == "count_tokens":  # generates nothing and is charged by nobody
        return Demand(0, 0)
    generates = call.operation != "embeddings"
    asked = call.max_output if generates else None
    held = _within_request(prompt, asked, terms) if terms.max_tokens else None
    choices = call.choices if call.choices > 1 else 1
    output = _output(held if held is not None else asked, card) * choices if generates else 0
    tokens = prompt + output
    if tokens > terms.tightest:
        if prompt > terms.tightest or asked is not None:
            raise _too_large(min(tokens, MOST), terms)
        tokens, output = terms.tightest, terms.tightest - prompt
    return Demand(tokens, _price(card, prompt, output, terms.markup), held if generates else None)


def plain_demand(prompt: int, asked: int, terms: Terms, card: ModelCard | None) -> Demand:
    """As `demand` for one answer of at most `asked` tokens (-1: nothing was asked), under terms without
    `max_tokens`. Raises as `demand`."""
    output = asked if asked >= 0 else _output(None, card)
    tokens = prompt + output
    if tokens > terms.tightest:
        if prompt > terms.tightest or asked >= 0:
            raise _too_large(min(tokens, MOST), terms)
        tokens, output = terms.tightest, terms.tightest - prompt
    return Demand(tokens, _price(card, prompt, output, terms.markup))


def _price(card: ModelCard | None, prompt: int, output: int, markup: int) -> int:
    """What so much costs at most: as `pricing.cost`, with every token in the dearest place it may turn up in."""
    if card is None or not card.prices:
        return 0
    tier = tier_for(card, prompt)
    total = prompt * max(tier.input, tier.cache_write or 0, tier.cache_write_1h or 0)
    total += output * max(tier.output, tier.reasoning or 0)
    total = -(-(total + total * markup // PER) // PER)
    return total if total < COST_MOST else COST_MOST


def _within_request(prompt: int, asked: int | None, terms: Terms) -> int | None:
    """The plan's bound on `max_tokens` where it must be put into the request, else None."""
    most = terms.max_tokens
    if prompt > most:
        raise Fault(Kind.INVALID_REQUEST, f"The prompt has about {prompt} tokens; {_allowance(terms)}.")
    if asked is not None and asked > most and not terms.cap_max_tokens:
        raise Fault(
            Kind.INVALID_REQUEST, f"The request asks for {asked} tokens; {_allowance(terms)}.", param="max_tokens"
        )
    return most if asked is None or asked > most else None


def _allowance(terms: Terms) -> str:
    return f"the {terms.max_tokens_whose} allows max_tokens_per_request = {terms.max_tokens}"


def _output(asked: int | None, card: ModelCard | None) -> int:
    if asked is not None:
        return asked if asked > 0 else 0
    return min(card.max_output, DEFAULT_OUTPUT) if card and card.max_output else DEFAULT_OUTPUT


def _too_large(tokens: int, terms: Terms) -> Fault:
    bound = next(bound for bound in terms.bounds if bound.rule.tokens and bound.cap < tokens)
    return Fault(
        Kind.INVALID_REQUEST,
        f"The request may take about {tokens} tokens; the {bound.whose} allows {bound.rule.name} = {bound.cap}.",
    )


class Frame:
    """The terms within one hour: everything about a request's limits that does not change from request to request.

    It holds from `since` to before `until` (unix seconds). `claims` are what is taken: of the key, and of the
    organisation where that has limits or pays.
    """

    __slots__ = ("claims", "since", "until", "windows")

    def __init__(self, terms: Terms, key: bytes, organization: bytes, now: Windows) -> None:
        self.windows = now
        self.since, self.until = now.hour_end - HOUR, now.hour_end
        own, shared = terms.bounds[: terms.own], terms.bounds[terms.own :]
        self.claims: tuple[Claim, ...] = (_claim(key, own, now, metered=False),)
        if shared or terms.metered:
            self.claims += (_claim(organization, shared, now, metered=terms.metered),)


def _claim(owner: bytes, bounds: tuple[Bound, ...], now: Windows, *, metered: bool) -> Claim:
    """What a request takes of one owner. It counts until the last of the windows has ended."""
    numbers = {"": 0, "hour": now.hour, "day": now.day, "month": now.month}
    limits = [
        (rule.kind, cap, TOKENS if rule.tokens else REQUESTS, numbers[rule.window]) for rule, cap, _ in bounds
    ]
    if metered:
        limits.append((BALANCE, 0, MONEY, 0))
    ends = [now.end(rule.window) for rule, _, _ in bounds if rule.window]
    return Claim(owner, limits, max([now.hour_end + RATE_KEEP, *ends]) * SECOND)


def rate_limited(terms: Terms, place: int, wait: int, now: Windows, unix: float) -> Fault:
    """The fault of a refusal by the bound at `place`, which would admit in `wait` nanoseconds where that is known."""
    rule, cap, whose = terms.bounds[place]
    known = now.end(rule.window) - unix if rule.window else wait / SECOND
    seconds = known if known > 0 else BUSY_WAIT
    message = f"Rate limit exceeded: {rule.name} = {cap} ({whose})."
    return Fault(Kind.RATE_LIMIT, message, retry_after=seconds)


def out_of_credits(wait: int) -> Fault:
    """The fault of a refusal by the balance."""
    if wait == NOT_OPEN:
        return Fault(Kind.LEDGER_UNAVAILABLE, "The account is not open yet.", retry_after=BUSY_WAIT)
    return Fault(Kind.INSUFFICIENT_QUOTA)
