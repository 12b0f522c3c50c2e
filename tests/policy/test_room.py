"""The waiting room: turns for organisations, first come first served within one, and nobody is called for nothing."""

from __future__ import annotations

from fastanchor.policy.room import Room, Ticket


class Waiters:
    """A room whose tickets note who was called for which channel."""

    def __init__(self) -> None:
        self.room = Room()
        self.called: list[tuple[str, str]] = []

    def enter(self, name: str, *channels: str) -> Ticket:
        ticket = Ticket(name[0], frozenset(channels or ("a",)), lambda channel: self.called.append((name, channel)))
        self.room.enter(ticket)
        return ticket

    def free(self, channel: str = "a", times: int = 1) -> list[str]:
        before = len(self.called)
        for _ in range(times):
            self.room.freed(channel)
        return [name for name, _ in self.called[before:]]


def test_organisations_take_turns() -> None:
    waiters = Waiters()
    for name in ("x1", "x2", "x3", "x4", "y1", "z1", "y2"):
        waiters.enter(name)
    assert waiters.free(times=7) == ["x1", "y1", "z1", "x2", "y2", "x3", "x4"]
    assert not waiters.room


def test_a_place_goes_to_who_can_use_it() -> None:
    waiters = Waiters()
    waiters.enter("x1", "a")
    waiters.enter("x2", "b")
    waiters.enter("y1", "b", "a")
    assert waiters.free("b") == ["x2"]
    assert waiters.free("b") == ["y1"]
    assert waiters.free("b") == []
    assert len(waiters.room) == 1


def test_who_left_is_not_called() -> None:
    waiters = Waiters()
    first = waiters.enter("x1")
    waiters.enter("x2")
    waiters.room.leave(first)
    waiters.room.leave(first)
    assert waiters.free(times=2) == ["x2"]


def test_nobody_to_call_is_told() -> None:
    assert not Room().freed("a")
