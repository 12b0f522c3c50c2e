"""Readiness: what is noticed, who is woken, and whom a descriptor's number belongs to."""

from __future__ import annotations

import os
import select
import socket
import types
from collections.abc import Callable, Generator, Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcome import Error, Value

from fastanchor._speedups.reactor import Loop
from tests.speedups.halves import both, halves

READ_SIZE = 64 * 1024


@types.coroutine
def sleep(abort: object) -> Generator[object, Any, None]:
    (yield abort).unwrap()


class Closed(Exception):
    pass


def loop(reschedule: Callable[[Any], None]) -> Loop[Any]:
    """A loop with one task, "me", whose trap is the abort function itself."""
    return Loop(lambda: "me", reschedule, sleep, "aborted", Closed)


class Rig:
    """A reactor, one socket of a pair in it, and whom the reactor has woken."""

    def __init__(self, half: ModuleType) -> None:
        self.woken: list[str] = []
        self.hangups: list[bool] = []
        self.reactor: Any = half.Reactor(loop(self.woken.append))
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.setblocking(False)
        self.handle: Any = self.reactor.add(self.ours.fileno())
        self.reactor.drain()  # that it is writable

    def happen(self) -> None:
        """Let the reactor notice all that there is."""
        while self.reactor.drain():
            pass

    def close(self) -> None:
        self.handle.forget()
        self.ours.close()
        self.theirs.close()
        self.reactor.close()


@pytest.fixture(params=halves("reactor"))
def half(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


@pytest.fixture
def rig(half: ModuleType) -> Iterator[Rig]:
    one = Rig(half)
    yield one
    one.close()


def test_nothing_is_received_before_an_event(rig: Rig) -> None:
    rig.theirs.send(b"abc")
    assert (rig.handle.readable, rig.handle.recv()) == (False, None)
    rig.happen()
    assert (rig.handle.readable, rig.handle.recv()) == (True, b"abc")
    assert (rig.handle.readable, rig.handle.recv()) == (False, None)


def test_the_descriptor_is_readable_while_events_wait(rig: Rig) -> None:
    def waiting() -> bool:
        return bool(select.select([rig.reactor.fileno()], [], [], 0)[0])

    assert not waiting()
    rig.theirs.send(b"abc")
    assert waiting()
    rig.happen()
    assert not waiting()


def test_a_reader_is_woken_once(rig: Rig) -> None:
    rig.handle.reader = "reader"
    rig.happen()
    assert rig.woken == []
    rig.theirs.send(b"a")
    rig.happen()
    rig.theirs.send(b"b")
    rig.happen()
    assert (rig.woken, rig.handle.reader) == (["reader"], None)
    assert rig.handle.recv() == b"ab"


def test_who_has_given_up_is_not_woken(rig: Rig) -> None:
    rig.handle.reader = rig.handle.writer = "one"
    rig.handle.reader = rig.handle.writer = None
    rig.theirs.send(b"a")
    rig.theirs.close()
    rig.happen()
    assert rig.woken == []


def test_a_full_receive_leaves_it_readable(rig: Rig) -> None:
    rig.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    assert rig.theirs.send(b"x" * (READ_SIZE + 1)) == READ_SIZE + 1
    rig.happen()
    assert len(rig.handle.recv()) == READ_SIZE
    assert rig.handle.readable
    assert rig.handle.recv() == b"x"
    assert not rig.handle.readable


def finished(step: Callable[[], object]) -> object:
    """What an await returns whose last step this is."""
    with pytest.raises(StopIteration) as end:
        step()
    return end.value.value


def test_to_await_is_to_receive(rig: Rig) -> None:
    rig.theirs.send(b"abc")
    rig.happen()
    assert finished(lambda: next(rig.handle.__await__())) == b"abc"
    steps = rig.handle.__await__()
    next(steps)
    assert rig.handle.reader == "me"
    rig.theirs.send(b"def")
    rig.happen()
    assert rig.woken == ["me"]
    assert finished(lambda: steps.send(Value(None))) == b"def"
    rig.theirs.close()
    rig.happen()
    assert finished(lambda: next(rig.handle.__await__())) == b""


def test_who_is_woken_for_nothing_sleeps_on(rig: Rig) -> None:
    steps = rig.handle.__await__()
    trap = next(steps)
    rig.handle.reader = None
    assert steps.send(Value(None)) is trap
    assert rig.handle.reader == "me"


def test_an_error_wakes(rig: Rig) -> None:
    steps = rig.handle.__await__()
    next(steps)
    rig.handle.reader = None
    with pytest.raises(TimeoutError):
        steps.send(Error(TimeoutError()))


def test_an_aborted_wait_takes_itself_out(rig: Rig) -> None:
    trap = next(rig.handle.__await__())
    assert trap(None) == "aborted"
    assert rig.handle.reader is None


def test_one_task_receives_at_a_time(rig: Rig) -> None:
    next(rig.handle.__await__())
    with pytest.raises(RuntimeError, match="another task"):
        next(rig.handle.__await__())


def test_who_awaits_what_is_closed(rig: Rig) -> None:
    steps = rig.handle.__await__()
    next(steps)
    rig.handle.reader = None
    rig.handle.forget()
    with pytest.raises(Closed):
        steps.send(Value(None))
    with pytest.raises(Closed):
        next(rig.handle.__await__())


def test_a_fast_sender_is_interrupted_and_read_on(rig: Rig) -> None:
    received = rounds = rests = 0
    while received < 20 * READ_SIZE:
        rig.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        try:
            rig.theirs.send(b"x" * READ_SIZE)
        except BlockingIOError:
            rig.happen()
        rig.reactor.drain()
        data = rig.handle.recv()
        rounds += 1
        if data is None:
            rests += 1
        else:
            received += len(data)
    assert 0 < rests <= rounds / 2


def test_the_end_is_seen_behind_the_last_bytes(rig: Rig) -> None:
    rig.handle.watch(rig.hangups.append)
    rig.theirs.send(b"last")
    rig.theirs.shutdown(socket.SHUT_WR)
    rig.happen()
    assert [rig.handle.recv() for _ in range(3)] == [b"last", b"", b""]
    assert rig.handle.ended
    assert rig.hangups == [False]


def test_a_hangup_is_told_once_and_again_when_it_is_full(rig: Rig) -> None:
    rig.handle.watch(rig.hangups.append)
    rig.theirs.send(b"a")
    rig.theirs.shutdown(socket.SHUT_WR)
    rig.happen()
    rig.ours.send(b"b")
    rig.happen()
    assert rig.hangups == [False]
    rig.theirs.close()
    rig.happen()
    assert rig.hangups == [False, True]


def test_who_asks_late_is_told_of_a_hangup_at_once(rig: Rig) -> None:
    rig.theirs.close()
    rig.happen()
    rig.handle.watch(rig.hangups.append)
    assert rig.hangups == [True]


def test_somebody_who_left_before_he_was_watched_is_noticed(rig: Rig) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        handle = rig.reactor.add(ours.fileno())
        handle.watch(rig.hangups.append)
        rig.happen()
        assert rig.hangups == [True]
        handle.forget()


def test_silence(rig: Rig) -> None:
    assert rig.handle.silent()
    rig.theirs.send(b"a")
    rig.happen()
    assert not rig.handle.silent()
    os.read(rig.ours.fileno(), 1)
    assert rig.handle.silent()
    rig.theirs.close()
    rig.happen()
    assert not rig.handle.silent()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_sending(rig: Rig, kind: Any) -> None:
    assert rig.handle.send(kind(b"abc")) == 3
    assert rig.handle.send(kind(b"")) == 0
    assert rig.handle.send_both(b"d", b"ef") == 3
    assert rig.theirs.recv(100) == b"abcdef"


def test_a_full_buffer_takes_nothing_and_wakes_the_writer_when_there_is_room(rig: Rig) -> None:
    while rig.handle.send(b"x" * 10_000):
        pass
    assert rig.handle.send_both(b"x" * 10_000, b"y") == 0
    rig.happen()
    rig.handle.writer = "writer"
    rig.happen()
    assert rig.woken == []
    while True:
        try:
            rig.theirs.recv(1 << 20)
        except BlockingIOError:
            break
    rig.happen()
    assert rig.woken == ["writer"]
    assert rig.handle.send(b"x") == 1


@pytest.mark.parametrize("method", ["send", "send_both"])
def test_sending_to_nobody_is_an_error(rig: Rig, method: str) -> None:
    rig.theirs.close()
    with pytest.raises(BrokenPipeError):
        getattr(rig.handle, method)(*[b"x"] * (1 + (method == "send_both")))


def test_a_reset_is_an_error(half: ModuleType) -> None:
    reactor = half.Reactor(loop(print))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours:
        ours.setblocking(False)
        handle = reactor.add(ours.fileno())
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        reactor.drain()
        with pytest.raises(ConnectionResetError):
            handle.recv()
        handle.forget()
    reactor.close()


def test_a_number_that_is_used_again_belongs_to_its_new_owner(rig: Rig) -> None:
    number = rig.handle.fd
    rig.theirs.send(b"old")
    rig.handle.forget()
    rig.ours.close()
    ours, theirs = socket.socketpair()
    assert ours.fileno() == number
    with ours, theirs:
        ours.setblocking(False)
        handle = rig.reactor.add(number)
        handle.reader = "new"
        rig.theirs.close()
        rig.happen()
        assert (rig.woken, rig.handle.fd, rig.handle.recv()) == ([], -1, None)
        theirs.send(b"for the new one")
        rig.happen()
        assert (rig.woken, handle.recv()) == (["new"], b"for the new one")
        handle.forget()


def test_what_is_forgotten_while_events_are_drained_gets_none(half: ModuleType) -> None:
    """Two events of one harvest; whoever is woken first closes the other, and opens a third under its number."""
    pairs = [socket.socketpair() for _ in range(2)]
    late: list[tuple[socket.socket, socket.socket]] = []
    woken: list[int] = []

    def reschedule(task: int) -> None:
        woken.append(task)
        other = handles[1 - task]
        other.forget()
        pairs[1 - task][0].close()
        late.append(socket.socketpair())
        third = reactor.add(late[0][0].fileno())
        third.reader = 2

    reactor = half.Reactor(loop(reschedule))
    handles = [reactor.add(ours.fileno()) for ours, _ in pairs]
    reactor.drain()
    for number, handle in enumerate(handles):
        handle.reader = number
        pairs[number][1].send(b"x")
    assert reactor.drain() == 2
    assert len(woken) == 1
    reactor.close()
    for ours, theirs in pairs + late:
        ours.close()
        theirs.close()


def test_a_drain_takes_a_bounded_number_of_events_and_the_rest_next_time(half: ModuleType) -> None:
    pairs = [socket.socketpair() for _ in range(300)]
    woken: list[int] = []
    reactor = half.Reactor(loop(woken.append))
    handles = [reactor.add(ours.fileno()) for ours, _ in pairs]
    while reactor.drain():
        pass
    for number, handle in enumerate(handles):
        handle.reader = number
        pairs[number][1].close()
    assert reactor.drain() == len(woken) == 256
    assert reactor.drain() == 44
    assert sorted(woken) == list(range(300))
    for handle, (ours, _) in zip(handles, pairs, strict=True):
        handle.forget()
        ours.close()
    reactor.close()


def test_handles_outlive_the_reactor(rig: Rig) -> None:
    rig.theirs.send(b"abc")
    rig.happen()
    rig.reactor.close()
    rig.reactor.close()
    assert rig.handle.recv() == b"abc"
    assert rig.handle.send(b"abc") == 3
    rig.handle.forget()
    rig.handle.forget()


@pytest.mark.parametrize("number", [-1, 10_000_000])
def test_a_number_that_is_no_descriptor(rig: Rig, number: int) -> None:
    with pytest.raises((OSError, ValueError)):
        rig.reactor.add(number)


STEPS = st.sampled_from(
    ["drain", "recv", "read", "write", "silent", "give up", "peer sends", "peer reads", "peer ends", "peer leaves"]
)


def step(rig: Rig, what: str) -> object:
    handle = rig.handle
    try:
        match what:
            case "drain":
                rig.happen()
            case "recv":
                return handle.recv()
            case "silent":
                return handle.silent()
            case "read":
                handle.reader = "reader"
            case "give up":
                handle.reader = handle.writer = None
            case "write":
                sent = handle.send(b"x" * 100_000)
                handle.writer = None if sent == 100_000 else "writer"
                return sent
            case "peer sends":
                rig.theirs.send(b"y" * 1000)
            case "peer reads":
                return len(rig.theirs.recv(1 << 20))
            case "peer ends":
                rig.theirs.shutdown(socket.SHUT_WR)
            case "peer leaves":
                rig.theirs.close()
    except OSError as error:
        return type(error)
    return None


@given(st.lists(STEPS, max_size=40))
def test_the_halves_agree(steps: list[str]) -> None:
    traces = []
    for half in both("reactor"):
        rig = Rig(half)
        trace: list[object] = []
        for what in steps:
            trace.append((what, step(rig, what), rig.handle.readable, rig.handle.ended, tuple(rig.woken)))
        traces.append(trace)
        rig.close()
    assert traces[0] == traces[1]
