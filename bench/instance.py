"""A real instance of the gateway, to measure how it behaves: `fastanchor serve`, one worker, with the given channels.

Providers and clients run in the process that measures, so both ends of what is timed are seen with one clock.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from fastanchor.wire.listen import bind, serve
from fastanchor.wire.message import Handler

SERVER = """
[server]
listen = ["127.0.0.1:{port}"]
workers = 1
state_dir = "{state}"
access_log = "off"
"""
START_SECONDS = 60.0


@asynccontextmanager
async def provider(handler: Handler) -> AsyncIterator[int]:
    """A provider on a free port, which it tells."""
    with bind("127.0.0.1:0") as listener:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, listener, handler)
            yield listener.getsockname()[1]
            nursery.cancel_scope.cancel()


@contextmanager
def instance(channels: str) -> Iterator[int]:
    """A running gateway with this part of a configuration file; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="fastanchor-bench-") as folder:
        config = Path(folder, "config.toml")
        config.write_text(SERVER.format(port=port, state=Path(folder, "state")) + channels)
        command = [sys.executable, "-m", "fastanchor", "serve", "--config", str(config)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                yield port
            finally:
                process.terminate()


async def answering(port: int) -> None:
    """Until somebody listens there."""
    with trio.fail_after(START_SECONDS):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.05)
            else:
                await stream.aclose()
                return
