"""The pool's decisions by themselves: caps, order, reuse, expiry."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastanchor.wire.roster import Roster, Ticket


class Callers:
    """Makes tickets, and notes who was woken."""

    def __init__(self, roster: Roster[str]) -> None:
        self.roster = roster
        self.woken: list[int] = []
        self.tickets: list[Ticket[str]] = []

    def enter(self, origin: str = "o") -> Ticket[str]:
        number = len(self.tickets)
        ticket: Ticket[str] = Ticket(origin, lambda: self.woken.append(number))
        self.tickets.append(ticket)
        self.roster.enter(ticket)
        return ticket


def test_under_the_cap_everybody_may_open() -> None:
    callers = Callers(Roster(2, 60))
    first, second, third = callers.enter(), callers.enter(), callers.enter()
    assert [first.granted, second.granted, third.granted] == [True, True, False]
    assert first.connection is None
    assert callers.roster.counts("o") == (2, 0, 1)


def test_the_cap_is_per_origin() -> None:
    callers = Callers(Roster(1, 60))
    assert callers.enter("a").granted
    assert callers.enter("b").granted


def test_idle_connections_are_used_last_in_first_out() -> None:
    callers = Callers(Roster(5, 60))
    for _ in range(3):
        callers.enter()
    for name in ("one", "two", "three"):
        callers.roster.leave("o", name, 0.0)
    assert [callers.enter().connection for _ in range(4)] == ["three", "two", "one", None]


def test_idle_connections_count_against_the_cap() -> None:
    callers = Callers(Roster(2, 60))
    callers.enter()
    callers.enter()
    callers.roster.leave("o", "one", 0.0)
    assert callers.enter().connection == "one"
    assert not callers.enter().granted


def test_waiters_are_served_in_order_and_get_the_connection() -> None:
    callers = Callers(Roster(1, 60))
    _, second, third = callers.enter(), callers.enter(), callers.enter()
    callers.roster.leave("o", "one", 0.0)
    assert (second.granted, second.connection, third.granted, callers.woken) == (True, "one", False, [1])
    callers.roster.leave("o", None, 0.0)
    assert (third.granted, third.connection, callers.woken) == (True, None, [1, 2])
    assert callers.roster.counts("o") == (1, 0, 0)


def test_nobody_overtakes_a_waiter() -> None:
    callers = Callers(Roster(1, 60))
    _, second = callers.enter(), callers.enter()
    callers.roster.leave("o", "one", 0.0)
    assert not callers.enter().granted
    assert second.granted


def test_who_gives_up_waiting_is_skipped() -> None:
    callers = Callers(Roster(1, 60))
    _, second, third = callers.enter(), callers.enter(), callers.enter()
    assert callers.roster.withdraw(second)
    callers.roster.leave("o", "one", 0.0)
    assert (second.granted, third.granted) == (False, True)


def test_who_was_granted_cannot_withdraw() -> None:
    callers = Callers(Roster(1, 60))
    assert not callers.roster.withdraw(callers.enter())


def test_another_connection_for_one_that_was_dead() -> None:
    callers = Callers(Roster(3, 60))
    for _ in range(3):
        callers.enter()
    callers.roster.leave("o", "one", 0.0)
    callers.roster.leave("o", "two", 0.0)
    assert callers.enter().connection == "two"
    assert callers.roster.another("o") == "one"
    assert callers.roster.another("o") is None
    assert callers.roster.counts("o") == (2, 0, 0)


def test_idle_connections_expire_oldest_first() -> None:
    callers = Callers(Roster(3, 60))
    for _ in range(3):
        callers.enter()
    for name, now in (("one", 0.0), ("two", 10.0), ("three", 20.0)):
        callers.roster.leave("o", name, now)
    assert callers.roster.next_expiry() == 60
    assert callers.roster.expire(59.9) == []
    assert callers.roster.expire(70.0) == ["one", "two"]
    assert callers.roster.next_expiry() == 80
    assert callers.roster.expire(1000.0) == ["three"]
    assert callers.roster.next_expiry() is None


def test_closing_takes_every_idle_connection() -> None:
    callers = Callers(Roster(3, 60))
    callers.enter("a")
    callers.enter("b")
    callers.roster.leave("a", "one", 0.0)
    callers.roster.leave("b", "two", 0.0)
    assert sorted(callers.roster.take_idle()) == ["one", "two"]
    assert callers.roster.counts("a") == (0, 0, 0)


def test_an_origin_that_nobody_uses_is_forgotten() -> None:
    roster: Roster[str] = Roster(3, 60)
    callers = Callers(roster)
    for i in range(1000):
        callers.enter(f"origin-{i}")
        roster.leave(f"origin-{i}", None, 0.0)
    assert roster._places == {}


@given(st.integers(1, 3), st.lists(st.sampled_from(("enter", "return", "close", "withdraw", "expire")), max_size=60))
def test_no_order_of_calls_breaks_the_counts(cap: int, calls: list[str]) -> None:
    """Never over the cap, nobody waits beside a free place, no connection is with two callers at once."""
    roster: Roster[str] = Roster(cap, 5)
    callers = Callers(roster)
    holding: list[Ticket[str]] = []
    waiting: list[Ticket[str]] = []
    opened = 0
    for now, call in enumerate(calls):
        if call == "enter":
            waiting.append(callers.enter())
        elif call in ("return", "close") and holding:
            ticket = holding.pop(0)
            roster.leave("o", ticket.connection if call == "return" else None, float(now))
        elif call == "withdraw" and waiting:
            assert roster.withdraw(waiting.pop(0))
        elif call == "expire":
            roster.expire(float(now))
        granted = [ticket for ticket in waiting if ticket.granted]
        assert granted == waiting[: len(granted)]
        waiting = waiting[len(granted) :]
        for ticket in granted:
            if ticket.connection is None:
                opened += 1
                ticket.connection = f"connection-{opened}"
        holding += granted
        held, idle, queued = roster.counts("o")
        assert (held, queued) == (len(holding), len(waiting))
        assert held + idle <= cap
        assert not (queued and held < cap)
        assert len({ticket.connection for ticket in holding}) == len(holding)
