"""May it now: every limit of the key in one step, and each attempt in the journal before it goes anywhere."""

from __future__ import annotations

from fastanchor.core.call import Call
from fastanchor.engine.cap import capped
from fastanchor.engine.exchange import Exchange
from fastanchor.policy.limits import Demand, Terms, demand
from fastanchor.store.admission import Admission


def admit(exchange: Exchange, books: Admission) -> None:
    """Give the exchange its lease and its limit headers; hold the call to what the plan caps.

    Raises:
        Fault: a limit is hit, the credits are used up, or nobody could account for the request.
    """
    call, principal, limiter = exchange.asked, exchange.principal, books.limiter
    need = _dearest(exchange, call, limiter.terms(principal))
    if need.max_output is not None:
        _hold(exchange, need.max_output)
    ticket = books.admit(principal, need, exchange.request_id, call.model)
    exchange.lease = ticket
    exchange.books = books
    exchange.limit_fields = limiter.headers(ticket, anthropic=exchange.spoken.name == "anthropic")


def _dearest(exchange: Exchange, call: Call, terms: Terms) -> Demand:
    """What the call demands at the dearest channel that has its own price for the model."""
    need = demand(call, terms, exchange.card(call.model, call.model, ""))
    for channel in exchange.world.channel_cards:
        other = demand(call, terms, exchange.card(call.model, call.model, channel))
        need = other if other.cost > need.cost else need
    return need


async def attempted(exchange: Exchange, channel: str, model: str) -> None:
    """Write down that a provider may see the request from now on.

    Raises:
        Fault: LEDGER_UNAVAILABLE, when credits would pay and it cannot be written.
    """
    books, lease = exchange.books, exchange.lease
    if books is not None and lease is not None:
        books.attempt(lease, channel, model)
        if books.durable is not None:
            await books.written(lease)


def _hold(exchange: Exchange, tokens: int) -> None:
    """Read the call again with a bound on its output."""
    request, call = exchange.request, exchange.asked
    path, query = request.path.decode("latin-1"), request.query.decode("latin-1")
    exchange.call = exchange.spoken.read(capped(call, tokens), path, query, exchange.headers)
    if "previous_response_id" in call.options:  # of a conversation that is all in the body by now
        exchange.call.options["previous_response_id"] = call.options["previous_response_id"]

