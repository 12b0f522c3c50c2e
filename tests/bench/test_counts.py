"""Counts: their slopes, what is held against what is recorded, and the steps that they are made of."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from bench.counts import gate, meters
from bench.counts.counted import Halted
from bench.counts.gate import INSTRUCTIONS, SYSCALLS, Count
from bench.counts.lockstep import CLIENTS, Lockstep, LockstepError
from bench.counts.works import WORKS, Work

CONSTANT = Counter(recvfrom=3, futex=7)
EACH = Counter(recvfrom=2, sendto=1)


@contextmanager
def counted(done: list[int], *_: object) -> Iterator[meters.Meter]:
    """A meter that finds something once, and something each time."""

    def count(work: Callable[[], None]) -> Counter[str]:
        before = len(done)
        work()
        times = sum(done[before:])
        return CONSTANT + Counter({name: times * CLIENTS * calls for name, calls in EACH.items()})

    yield count


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Work]:
    """Work that does nothing, with meters for it and a file of records."""
    done: list[int] = []
    monkeypatch.setattr(gate, "syscalls", partial(counted, done))
    monkeypatch.setattr(gate, "instructions", partial(counted, done))
    monkeypatch.setattr(gate, "RECORDED", tmp_path / "recorded.json")
    return [Work("nothing", lambda lockstep, times: done.append(times), (10, 4))]


def test_what_happens_once_is_not_in_a_slope(works: list[Work], tmp_path: Path) -> None:
    found = gate.measure(tmp_path, works, lambda count: None)
    assert [(count.unit, count.each) for count in found] == [(SYSCALLS, 3.0), (INSTRUCTIONS, 3.0)]
    assert found[0].detail == "recvfrom 2.00 sendto 1.00"


def test_a_record_is_an_upper_bound(works: list[Work], tmp_path: Path) -> None:
    first = gate.measure(tmp_path, works, lambda count: None)
    assert not any(count.over for count in first)  # nothing is recorded yet
    gate.record(first)
    assert not any(count.over for count in gate.measure(tmp_path, works, lambda count: None))
    gate.RECORDED.write_text(json.dumps({SYSCALLS: {"nothing": 2.6}, INSTRUCTIONS: {"nothing": 300}}))
    assert [count.over for count in gate.measure(tmp_path, works, lambda count: None)] == [True, False]


@pytest.mark.parametrize(("each", "over"), [(105.1, False), (105.3, True), (50.0, False)])
def test_five_percent_and_a_share_of_a_turn_more_are_too_many(each: float, over: bool) -> None:
    assert Count("request", SYSCALLS, each, "", recorded=100.0).over is over
    assert ("OVER" in gate.line(Count("request", SYSCALLS, each, "", recorded=100.0))) is over


def test_a_record_leaves_other_versions_of_python_alone(works: list[Work], tmp_path: Path) -> None:
    gate.RECORDED.write_text(json.dumps({"instructions, cpython 2.7": {"nothing": 1}, SYSCALLS: {"more": 5}}))
    gate.record(gate.measure(tmp_path, works, lambda count: None))
    assert gate.read()["instructions, cpython 2.7"] == {"nothing": 1}
    assert gate.read()[SYSCALLS] == {"more": 5, "nothing": 3.0}


def test_what_is_committed_covers_all_work() -> None:
    recorded = gate.read()
    names = {work.name for work in WORKS}
    assert {unit: set(values) for unit, values in recorded.items()} == dict.fromkeys(recorded, names)
    assert SYSCALLS in recorded


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(meters.shutil, "which", lambda tool: None)
    with Lockstep() as lockstep:
        for meter, tool in ((meters.syscalls, "strace"), (meters.instructions, "valgrind")):
            with pytest.raises(meters.MeterError, match=f"{tool} is not installed"), meter(lockstep, tmp_path):
                pass


async def test_time_stands_still_until_it_is_told() -> None:
    clock = Halted()
    assert clock.deadline_to_sleep_time(0.5) > 1e5
    clock.tick()
    assert clock.current_time() == 1.0
    assert clock.deadline_to_sleep_time(0.5) == 0.0


def test_what_is_due_by_a_tick_happens_with_it() -> None:
    clock = Halted()

    async def sleep() -> float:
        trio.lowlevel.current_trio_token().run_sync_soon(clock.tick)
        await trio.sleep(0.9)
        return trio.current_time()

    assert trio.run(sleep, clock=clock) == 1.0


@contextmanager
def relay(provider_port: int, spoil: Callable[[bytes], bytes] = lambda data: data) -> Iterator[int]:
    """A gateway that passes every byte on, perhaps spoilt on the way to the client; yields its port."""

    def pass_on(here: socket.socket, there: socket.socket, change: Callable[[bytes], bytes]) -> None:
        with contextlib.suppress(OSError):
            while data := here.recv(65536):
                there.sendall(change(data))
            there.shutdown(socket.SHUT_WR)

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", provider_port)) as provider:
            back = threading.Thread(target=pass_on, args=(provider, client, spoil))
            back.start()
            pass_on(client, provider, lambda data: data)
            back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_all_work_ends_with_a_gateway_that_passes_it_on(work: Work) -> None:
    with Lockstep() as lockstep, relay(lockstep.provider_port) as port:
        lockstep.port = port
        work.do(lockstep, 3)
        work.do(lockstep, 2)


def test_no_event_is_sent_before_all_clients_have_the_last() -> None:
    came: list[bytes] = []

    def note(data: bytes) -> bytes:
        came.extend(re.findall(rb"~\d{6}~", data))
        return data

    with Lockstep() as lockstep, relay(lockstep.provider_port, note) as port:
        lockstep.port = port
        WORKS[2].do(lockstep, 4)
    assert came == [b"~%06d~" % number for number in range(4) for _ in range(CLIENTS)]


def test_an_event_that_does_not_come_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.counts.lockstep.TIMEOUT", 0.2)
    spoilt = partial(re.sub, rb"~000001~", b"~000000~")
    with Lockstep() as lockstep, relay(lockstep.provider_port, spoilt) as port:
        lockstep.port = port
        with pytest.raises(LockstepError, match="nothing more came after"):
            WORKS[2].do(lockstep, 3)
