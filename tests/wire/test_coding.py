"""Content codings of request bodies: whole ones come out, broken ones and bombs do not."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.wire import BadRequest, BodyTooLarge
from fastanchor.wire.coding import (
    BadCoding,
    DecodingLimits,
    UnsupportedCoding,
    accepted,
    coding_of,
    codings,
    decode,
    decoded_body,
)
from fastanchor.wire.hits import limit_hits

Encode = Callable[[bytes], bytes]
LOOSE = DecodingLimits(ratio=10**9)


def bare(data: bytes) -> bytes:
    one = zlib.compressobj(wbits=-15)
    return one.compress(data) + one.flush()


def encoders() -> Iterator[tuple[bytes, Encode]]:
    yield b"gzip", gzip.compress
    yield b"x-gzip", gzip.compress
    yield b"deflate", zlib.compress
    yield b"deflate", bare
    if find_spec("brotli"):
        yield b"br", partial(import_module("brotli").compress, quality=4)
    if find_spec("zstandard"):
        yield b"zstd", import_module("zstandard").compress


every = pytest.mark.parametrize(("name", "encode"), list(encoders()), ids=lambda one: getattr(one, "__name__", one))


class Asked:
    """A request with a body and these codings; `reads` counts how often the body was asked for."""

    def __init__(self, body: bytes, *codings: bytes, max_body: int = 32 * 1024 * 1024) -> None:
        self.method = b"POST"
        self.target = self.path = b"/"
        self.query = b""
        self.headers = [(b"content-encoding", coding) for coding in codings]
        self.peer, self.version, self.secure, self.max_body = "unix", b"1.1", False, max_body
        self.reads = 0
        self._body = body

    def get(self, name: bytes) -> bytes | None:
        return next((value for field, value in self.headers if field == name), None)

    async def body(self) -> bytes:
        self.reads += 1
        return self._body

    async def read(self) -> bytes:
        return self._body

    def hold(self, size: int) -> None:
        """As much as comes."""


@every
@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
async def test_comes_out(name: bytes, encode: Encode, size: int) -> None:
    data = bytes(i * i % 251 for i in range(size))
    assert await decoded_body(Asked(encode(data), name), LOOSE) == data


@given(data=st.binary(max_size=2000))
async def test_everything_comes_back(data: bytes) -> None:
    for name, encode in encoders():
        assert b"".join(codings()[name](encode(data))) == data


@every
async def test_a_body_that_is_cut_off_is_refused(name: bytes, encode: Encode) -> None:
    coded = encode(b"a text that is long enough to be cut anywhere" * 3)
    for at in range(len(coded)):
        with pytest.raises(BadCoding):
            await decoded_body(Asked(coded[:at], name), LOOSE)


@every
async def test_what_follows_the_end_is_refused(name: bytes, encode: Encode) -> None:
    for more in (b"\x00", encode(b"again"), b"x" * 100_000):
        with pytest.raises(BadCoding):
            await decoded_body(Asked(encode(b"body") + more, name), LOOSE)


@pytest.mark.parametrize("name", sorted(codings()))
async def test_other_bytes_are_refused(name: bytes) -> None:
    for body in (b'{"model":"m"}', b"\xff" * 100, gzip.compress(b"x")[::-1]):
        with pytest.raises(BadCoding):
            await decoded_body(Asked(body, name), LOOSE)


@every
async def test_a_bomb_is_refused_and_makes_little(name: bytes, encode: Encode) -> None:
    bomb = encode(bytes(16 * 1024 * 1024))
    tracemalloc.start()
    with pytest.raises(BadCoding, match="100 times"):
        await decoded_body(Asked(bomb, name, max_body=1 << 30), DecodingLimits())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 1024 * 1024
    assert limit_hits()["decoding_ratio"] == 1


@every
async def test_the_size_is_bounded(name: bytes, encode: Encode) -> None:
    with pytest.raises(BodyTooLarge):
        await decoded_body(Asked(encode(bytes(1001)), name, max_body=1000), LOOSE)
    assert len(await decoded_body(Asked(encode(bytes(1000)), name, max_body=1000), LOOSE)) == 1000


async def test_small_bodies_may_grow() -> None:
    coded = gzip.compress(bytes(60_000))
    held: list[int] = []
    decoded = await decode(coded, codings()[b"gzip"], 1 << 20, DecodingLimits(ratio=1), held.append)
    assert len(decoded) == sum(held) == 60_000


@pytest.mark.parametrize("given", [[b"compress"], [b"gzip, gzip"], [b"gzip", b"gzip"], [b"snappy"], [b"gzip,"]])
async def test_what_is_not_spoken_is_refused_before_the_body_is_read(given: list[bytes]) -> None:
    request = Asked(b"x", *given)
    with pytest.raises(UnsupportedCoding) as refused:
        await decoded_body(request, LOOSE)
    assert isinstance(refused.value, BadRequest)
    assert (refused.value.status, request.reads) == (415, 0)


@pytest.mark.parametrize("given", [[], [b""], [b"identity"], [b"Identity"]])
async def test_no_coding_is_no_work(given: list[bytes]) -> None:
    assert await decoded_body(Asked(b"as it is", *given), LOOSE) == b"as it is"


def test_names_have_no_case() -> None:
    assert coding_of(Asked(b"", b" GZip ")) == b"gzip"


def test_what_is_spoken_can_be_told() -> None:
    assert accepted().startswith(b"gzip, deflate")
