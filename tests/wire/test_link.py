"""A link's waits: what ends them, and that nobody who is fast keeps others from running."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fastanchor.wire.link import DeadlinePassed, Link
from fastanchor.wire.reactor import reactor

SIZE = 64 * 1024


@contextlib.contextmanager
def linked() -> Iterator[tuple[Link, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    link = Link(ours)
    with theirs:
        yield link, theirs
    link.close()


async def test_receiving() -> None:
    with linked() as (link, theirs):
        theirs.send(b"abc")
        assert await link.recv() == b"abc"
        theirs.send(b"def")
        theirs.shutdown(socket.SHUT_WR)
        assert await link.recv() == b"def"
        assert await link.recv() == b""


@pytest.mark.parametrize("wait", ["recv", "readable"])
async def test_a_deadline_leaves_the_link_usable(wait: str, autojump_clock: MockClock) -> None:
    with linked() as (link, theirs):
        link.deadline = link.now() + 5
        begun = trio.current_time()
        with pytest.raises(DeadlinePassed):
            await getattr(link, wait)()
        assert 5 <= trio.current_time() - begun <= 5.5
        theirs.send(b"abc")
        assert await link.recv() == b"abc"


async def test_bytes_in_the_moment_of_a_deadline_do_not_lift_it(autojump_clock: MockClock) -> None:
    """The sweep finds nobody who waits, when bytes have woken him in the same pass of the loop."""
    with linked() as (link, theirs), trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def receive() -> None:
                assert await link.recv() == b"x"
                with pytest.raises(DeadlinePassed):
                    await link.recv()

            await wait_all_tasks_blocked()
            link.deadline = trio.current_time()
            theirs.send(b"x")
            reactor().drain()
            link.expire()


@pytest.mark.parametrize("wait", ["recv", "readable"])
async def test_closing_wakes_who_receives(wait: str) -> None:
    with linked() as (link, _):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def receive() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await getattr(link, wait)()

            await wait_all_tasks_blocked()
            link.close()


async def test_closing_wakes_who_sends() -> None:
    with linked() as (link, _):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await link.send(b"x" * (1 << 24))

            await wait_all_tasks_blocked()
            link.close()


@pytest.mark.parametrize("wait", ["recv", "readable", "writable"])
async def test_a_closed_link_is_not_waited_for(wait: str) -> None:
    with linked() as (link, _):
        link.close()
        with pytest.raises(trio.ClosedResourceError):
            await getattr(link, wait)()


async def test_a_wait_that_is_cancelled_leaves_the_link_usable() -> None:
    with linked() as (link, theirs):
        for wait in (link.recv, link.readable):
            with trio.move_on_after(0) as scope:
                await wait()
            assert scope.cancelled_caught
        theirs.send(b"abc")
        assert await link.recv() == b"abc"


async def test_one_task_waits_in_each_direction() -> None:
    with linked() as (link, _), trio.fail_after(60):
        while link.send_now(b"x" * SIZE):
            pass
        await wait_all_tasks_blocked()  # the event of a new socket, which is writable
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.readable)
            nursery.start_soon(link.writable)
            await wait_all_tasks_blocked()
            for wait in (link.readable, link.writable):
                with pytest.raises(trio.BusyResourceError):
                    await wait()
            with pytest.raises(RuntimeError, match="another task"):
                await link.recv()
            nursery.cancel_scope.cancel()


async def test_what_is_large_arrives_whole(autojump_clock: MockClock) -> None:
    head, body = b"h" * 1000, bytes(range(256)) * 40_000
    with linked() as (link, theirs):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                await link.send_both(head, body, 60.0)

            received = b""
            while len(received) < len(head) + len(body):
                await trio.lowlevel.wait_readable(theirs)
                received += theirs.recv(1 << 20)
        assert received == head + body


async def test_a_fast_sender_does_not_hold_the_loop() -> None:
    """Whoever refills the socket between two receives never lets the receiver wait, but others run."""
    with linked() as (link, theirs):
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        ran = 0

        async def other() -> None:
            nonlocal ran
            while True:
                await trio.lowlevel.checkpoint()
                ran += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await trio.lowlevel.checkpoint()
            before = ran
            for _ in range(100):
                with contextlib.suppress(BlockingIOError):
                    while True:
                        theirs.send(b"x" * SIZE)
                await link.recv()
            nursery.cancel_scope.cancel()
        assert ran - before >= 20
