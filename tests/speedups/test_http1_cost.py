"""What hostile bytes cost to parse: little, and no more than in proportion to their number."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from types import ModuleType

import pytest

from fastanchor._speedups.http1 import BadMessage, HeadLimits
from tests.speedups.halves import halves

MIB = 1024 * 1024
UNBOUNDED = HeadLimits(line=1 << 30, field=1 << 30, head=1 << 30, fields=1 << 30)
START = b"GET / HTTP/1.1\r\nHost: h\r\n"
SOME = MIB // 8
ENOUGH = 1.0
"""Seconds of CPU: ten times what the slowest takes on the pure half. Within the default bounds heads take far less."""

HEADS: dict[str, Callable[[int], bytes]] = {
    "long-target": lambda size: b"GET /" + b"x" * size + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "long-target-of-escapes": lambda size: b"GET /" + b"%2e" * (size // 3) + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "long-target-of-slashes": lambda size: b"GET " + b"/" * size + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "one-long-value": lambda size: START + b"a: " + b"x" * size + b"\r\n\r\n",
    "one-value-of-spaces": lambda size: START + b"a: x" + b" " * size + b"x\r\n\r\n",
    "spaces-before-the-value": lambda size: START + b"a:" + b" " * size + b"\x01\r\n\r\n",
    "one-long-name": lambda size: START + b"a" * size + b": x\r\n\r\n",
    "tiny-fields": lambda size: START + b"a:\r\n" * (size // 4) + b"\r\n",
    "colons": lambda size: START + b"a" + b":" * size + b"\r\n\r\n",
    "commas": lambda size: START + b"Connection: " + b"," * size + b"\r\n\r\n",
    "many-options": lambda size: START + b"Connection: " + b"close," * (size // 6) + b"\r\n\r\n",
    "many-codings": lambda size: START + b"Transfer-Encoding: " + b"chunked," * (size // 8) + b"\r\n\r\n",
    "long-length": lambda size: START + b"Content-Length: " + b"1" * size + b"\r\n\r\n",
    "long-host": lambda size: b"GET / HTTP/1.1\r\nHost: " + b"a." * (size // 2) + b"\r\n\r\n",
    "no-end": lambda size: START + b"a: x\r\n" * (size // 6),
    "bare-lines": lambda size: START + b"\n" * size,
}


@pytest.fixture(params=halves("http1"))
def half(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


def seconds(parse: Callable[[], object]) -> float:
    """CPU of the best of three."""
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        with contextlib.suppress(BadMessage):  # refused is as good as read
            parse()
        best = min(best, time.process_time() - begun)
    return best


def is_linear(cost: Callable[[int], float]) -> None:
    """Four times as much costs eight times as much at most (and not sixteen times), with some allowance for what is too
    short to be measured."""
    some, more = cost(SOME), cost(4 * SOME)
    assert more < ENOUGH
    assert more <= 8 * some + 0.05, (some, more)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_heads_without_bounds(head: Callable[[int], bytes], half: ModuleType) -> None:
    def cost(size: int) -> float:
        data = head(size)
        return seconds(lambda: half.parse_request(data, UNBOUNDED))

    is_linear(cost)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_mebibyte_of_head(head: Callable[[int], bytes], half: ModuleType) -> None:
    data = head(MIB)
    assert seconds(lambda: half.parse_request(data)) < 0.5


@pytest.mark.parametrize("unit", [b"1\r\nx\r\n", b"1;a=b\r\nx\r\n", b"0001\r\nx\r\n"])
def test_bodies_in_tiny_chunks(unit: bytes, half: ModuleType) -> None:
    def cost(size: int) -> float:
        data = unit * (size // len(unit))
        return seconds(lambda: half.ChunkDecoder(1 << 40, UNBOUNDED).feed(data))

    is_linear(cost)


def test_a_head_that_trickles_in(half: ModuleType) -> None:
    """Byte by byte to its bound: each is looked at once."""
    head = START + b"a: " + b"x" * 15_000 + b"\r\nb: " + b"x" * 15_000

    def trickle() -> None:
        for end in range(1, len(head)):
            assert half.parse_request(head[:end], HeadLimits(), end - 1) is None

    assert seconds(trickle) < ENOUGH
