"""Upstreams in memory: the same `request` as the pool's, answered by scripts, on trio's clock.

A request is known by the port of its origin, which the stage has given to each channel alone. Time passes as on a real
wire: the head comes with the first bytes, reads wait for the next piece and give up as the real response does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import trio

from fastanchor.lab.fault import GOOD, Fault
from fastanchor.providers import demo
from fastanchor.wire import errors as wire
from fastanchor.wire.dial import Origin
from fastanchor.wire.message import Header, Headers


@dataclass
class Played:
    """One channel's upstream. `prefix` is the path of its base URL; `seen` are the times of the requests."""

    name: str
    prefix: str
    fault: Fault = GOOD
    seen: list[float] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    open: int = 0  # responses, or attempts at one, that nobody has closed yet
    closed_at: list[float] = field(default_factory=list)
    most_open: int = 0


class MemoryUpstreams:
    """All of them, by port."""

    def __init__(self, played: Mapping[int, Played]) -> None:
        self.played = played

    async def request(
        self,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes = b"",
        *,
        connect_timeout: float,
        first_byte_timeout: float | None,
    ) -> MemoryResponse:
        """See `engine.upstreams.Upstreams`."""
        one = self.played[origin.port]
        one.seen.append(trio.current_time())
        number = len(one.seen)
        one.bodies.append(body)
        one.open += 1
        one.most_open = max(one.most_open, one.open)
        try:
            await trio.lowlevel.checkpoint()
            fault = one.fault if one.fault.due(number, trio.current_time()) else GOOD
            await _fail(fault, connect_timeout, first_byte_timeout)
            script = _script(one, fault, number, method, target, headers, body)
            within = math.inf if first_byte_timeout is None else first_byte_timeout
            return await _head(one, script, trio.current_time() + within)
        except BaseException:
            _close(one)
            raise


def _close(one: Played) -> None:
    one.open -= 1
    one.closed_at.append(trio.current_time())


async def _fail(fault: Fault, connect_timeout: float, first_byte_timeout: float | None) -> None:
    """Raise what the fault says in place of an answer, when it says so or when the caller gives up."""
    connecting = fault.error is not None and issubclass(fault.error, wire.ConnectFailed)
    limit = connect_timeout if connecting else math.inf if first_byte_timeout is None else first_byte_timeout
    await trio.sleep(min(fault.after, limit))
    if fault.after >= limit:
        raise wire.ConnectTimeout("lab") if connecting else wire.ResponseTimeout("lab")
    if fault.error is not None:
        raise fault.error("lab")


def _script(
    one: Played, fault: Fault, number: int, method: bytes, target: bytes, headers: Headers, body: bytes
) -> demo.Script:
    if fault.status:
        return fault.script(time.time() + trio.current_time())
    fields = [(b"x-demo-fault", fault.words.encode("ascii")), (b"x-demo-pace", b"p20")] if fault.words else []
    path = target[len(one.prefix) :] if target.startswith(one.prefix.encode()) else target
    kept = [(name, value) for name, value in headers if not name.startswith(b"x-demo-")]
    return demo.answer(method, path, [*kept, *fields], body, number=number)


async def _head(one: Played, script: demo.Script, deadline: float) -> MemoryResponse:
    """Play up to the head, which comes with the first bytes (of an empty body: with its end)."""
    response = MemoryResponse(one, script)
    response.advance()
    if response.due > deadline:
        await trio.sleep_until(deadline)
        raise wire.ResponseTimeout("lab")
    await trio.sleep_until(response.due)
    if response.failing is not None and response.next is None:
        raise wire.ResetBeforeResponse("lab")
    return response


class MemoryResponse:
    """A response that is played (see `engine.upstreams.Response`)."""

    def __init__(self, one: Played, script: demo.Script) -> None:
        self.status = script.status
        self.headers: list[Header] = list(script.headers)
        self.idle_timeout: float | None = None
        self.patience: float | None = None
        self.complete = False
        self.next: bytes | None = None  # what the next read brings, at `due`
        self.due = trio.current_time()
        self.failing: type[wire.WireError] | None = None  # or what it raises
        self._one: Played | None = one
        self._steps: Iterator[demo.Step] = iter(script.steps)
        self._still_since: float | None = None

    def get(self, name: bytes) -> bytes | None:
        return next((value for field, value in self.headers if field == name), None)

    def advance(self) -> None:
        """Find out what comes next, and when."""
        self.next = None
        for step in self._steps:
            match step:
                case demo.Wait(seconds) | demo.SlowHead(seconds):
                    self.due += seconds
                case demo.Send(data):
                    self.next = data
                    return
                case demo.Cut():
                    self.failing = wire.Truncated
                    return
                case demo.Stall():
                    self.due = math.inf
                    return

    async def read(self) -> bytes:
        """The next piece."""
        if self._one is None and not self.complete:
            raise wire.Truncated("closed")
        now = trio.current_time()
        since = now if self._still_since is None else self._still_since
        idle = math.inf if self.idle_timeout is None else since + self.idle_timeout
        until = min(idle, math.inf if self.patience is None else now + self.patience)
        if self.due > until:
            await trio.sleep_until(until)
            self._give_up(since, until < idle)
        await trio.sleep_until(max(now, self.due))
        self._still_since = None
        if self.next is not None:
            data = self.next
            self.advance()
            return data
        if self.failing is not None:
            self.close()
            raise self.failing("lab")
        self.complete = True
        self.close()
        return b""

    def _give_up(self, since: float, only_patience: bool) -> None:
        if only_patience:
            self._still_since = since
            raise wire.NothingYet("lab")
        self.close()
        raise wire.ReadTimeout("lab")

    async def read_all(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        while data := await self.read():
            pieces.append(data)
        return b"".join(pieces)

    def close(self) -> None:
        if self._one is not None:
            _close(self._one)
            self._one = None


def with_port(url: str, port: int) -> str:
    """The URL with another port."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host = authority.rpartition(":")[0] if authority.rpartition(":")[2].isdigit() else authority
    return f"{scheme}://{host}:{port}{slash}{path}"


