"""The demo provider as a process: plays the scripts of `providers.demo` over the wire."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import trio

from fastanchor.providers import demo
from fastanchor.runtime.children import listen
from fastanchor.wire.listen import serve
from fastanchor.wire.message import OWN_FIELDS, Reply, Request


class Player:
    """Answers every request by its script."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, request: Request, reply: Reply) -> None:
        self.count += 1
        body = await request.body()
        script = demo.answer(request.method, request.target, request.headers, body, number=self.count)
        await play(script, reply)


async def play(script: demo.Script, reply: Reply) -> None:
    """Send a script's answer at its pace, with its faults."""
    headers = [(name, value) for name, value in script.headers if name not in OWN_FIELDS]
    steps: Iterator[demo.Step] = iter(script.steps)
    for step in steps:
        match step:
            case demo.Wait(seconds) | demo.SlowHead(seconds):
                await trio.sleep(seconds)
            case demo.Stall():
                await trio.sleep_forever()
            case demo.Cut():
                reply.abort()
                return
            case demo.Send(data):
                if script.stream:
                    await _send(script, headers, reply, data)
                else:
                    await reply.respond(script.status, headers, data)
                    return
    if not reply.started:
        await reply.respond(script.status, headers, b"")
    else:
        await reply.finish()


async def _send(script: demo.Script, headers: list[tuple[bytes, bytes]], reply: Reply, data: bytes) -> None:
    if reply.started:
        await reply.send(data)
    else:
        await reply.start(script.status, headers, data)


async def serve_demo(listener: socket.socket, lifeline: int | None) -> None:
    """Serve until told to stop, or until the supervisor is gone."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener, Player())

            async def until_gone() -> None:
                if lifeline is None:
                    await trio.sleep_forever()
                else:
                    await trio.lowlevel.wait_readable(lifeline)
                nursery.cancel_scope.cancel()

            nursery.start_soon(until_gone)
            async for _ in signals:
                nursery.cancel_scope.cancel()


def run_demo(listener: socket.socket, lifeline: int | None = None) -> None:
    """Be the demo provider (in a process of its own)."""
    trio.run(serve_demo, listener, lifeline)
