"""Content codings of request bodies (RFC 9110 §8.4): gzip and deflate, and br and zstd where a library is there.

Rules:
- One coding at most; a list of them is refused with 415, like one that is not known, before the body is read.
- What comes out is bounded in size (413), and in its ratio to what went in (400): a body that small which grows that
  large is an attack, not a request. Both are looked at step by step, so nothing much larger is ever made.
- A body must be whole, and nothing may come behind its end.
- Between two steps others have their turn.

`deflate` is zlib's format; the bare one that some clients send is taken too. Sources: RFC 1950-1952, 7932, 8878.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import trio

from .errors import BadRequest, BodyTooLarge
from .hits import hit
from .message import Request

STEP = 256 * 1024
"""Bytes made at once, where the library can be bounded."""
PIECE = 64 * 1024
"""Bytes of the coded body that are looked at together."""
ZSTD_PIECE = 256
"""Likewise for zstd, whose library cannot be bounded: these make 8 MiB at most, 128 KiB for every 4 bytes."""
ZSTD_WINDOW = 8 * 1024 * 1024
"""What every decoder has to take (RFC 8878 §3.1.1.1.2), and no more."""

NONE = (b"", b"identity")

Decode = Callable[[bytes], Iterator[bytes]]
"""A coded body → its pieces. Raises ValueError for one that is broken, cut off, or goes on behind its end."""


@dataclass(frozen=True, slots=True)
class DecodingLimits:
    """What a coded body may become."""

    ratio: int = 100
    """Bytes out per byte in, behind the first `grace` bytes (400)."""
    grace: int = 64 * 1024


class UnsupportedCoding(BadRequest):
    """The body has a coding that is not spoken here, or several."""

    def __init__(self, coding: bytes) -> None:
        super().__init__(415, f"content coding {coding[:40].decode('latin-1')!r} is not supported")


class BadCoding(BadRequest):
    """The body is not what its coding says, or grows out of all proportion."""

    def __init__(self, reason: str) -> None:
        super().__init__(400, reason)


def coding_of(request: Request) -> bytes:
    """The content coding, b"" for none. Raises UnsupportedCoding."""
    coding = b",".join(value for name, value in request.headers if name == b"content-encoding").strip().lower()
    if coding in NONE:
        return b""
    if coding not in codings():
        raise UnsupportedCoding(coding)
    return coding


async def decoded_body(request: Request, limits: DecodingLimits) -> bytes:
    """The whole body, its coding taken off.

    Raises:
        UnsupportedCoding, BadCoding, and what `Request.body` raises; BodyTooLarge and NoRoomForBody also for what
        comes out.
    """
    coding = coding_of(request)
    body = await request.body()
    return await decode(body, codings()[coding], request.max_body, limits, request.hold) if coding else body


async def decode(
    coded: bytes, pieces: Decode, most: int, limits: DecodingLimits, hold: Callable[[int], None]
) -> bytes:
    """A body of at most `most` bytes; `hold` is told of them. Raises BodyTooLarge, BadCoding, and what `hold` does."""
    allowed = limits.grace + limits.ratio * len(coded)
    made = []
    size = 0
    try:
        for piece in pieces(coded):
            made.append(piece)
            size += len(piece)
            if size > most:
                raise BodyTooLarge(most)
            if size > allowed:
                hit("decoding_ratio")
                raise BadCoding(f"the body grows to more than {limits.ratio} times its size")
            hold(len(piece))
            await trio.lowlevel.checkpoint()
    except ValueError as error:
        raise BadCoding(str(error)) from None
    return b"".join(made)


@cache
def codings() -> dict[bytes, Decode]:
    """The codings that are spoken here, by name."""
    known: dict[bytes, Decode] = {b"gzip": gunzip, b"x-gzip": gunzip, b"deflate": inflate}
    if find_spec("brotli"):
        known[b"br"] = unbrotli
    if find_spec("zstandard"):
        known[b"zstd"] = unzstd
    return known


def accepted() -> bytes:
    """The value of Accept-Encoding that says what is spoken here (RFC 9110 §12.5.3)."""
    return b", ".join(name for name in codings() if not name.startswith(b"x-"))


def gunzip(coded: bytes) -> Iterator[bytes]:
    """One member of gzip."""
    return _zlib(coded, 16 + zlib.MAX_WBITS, "gzip")


def inflate(coded: bytes) -> Iterator[bytes]:
    """zlib's format or the bare one: the first two bytes tell (RFC 1950 §2.2)."""
    wrapped = coded[:1] and coded[0] & 0x0F == 8 and int.from_bytes(coded[:2], "big") % 31 == 0
    return _zlib(coded, zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS, "deflate")


def _zlib(coded: bytes, window_bits: int, name: str) -> Iterator[bytes]:
    decoder = zlib.decompressobj(window_bits)
    at = 0
    try:
        while not decoder.eof:
            more = decoder.unconsumed_tail or coded[at : at + PIECE]
            if not decoder.unconsumed_tail:
                at += len(more)
            made = decoder.decompress(more, STEP)
            if not made and not more:
                raise ValueError(f"the {name} body is cut off")
            yield made
    except zlib.error:
        raise ValueError(f"the body is not valid {name}") from None
    if decoder.unused_data or at < len(coded):
        raise ValueError(f"something follows the end of the {name} body")


def unbrotli(coded: bytes) -> Iterator[bytes]:
    """With the `brotli` package."""
    library: Any = import_module("brotli")
    decoder = library.Decompressor()
    at = 0
    try:
        while not decoder.is_finished():
            more = coded[at : at + PIECE] if decoder.can_accept_more_data() else b""
            at += len(more)
            made: bytes = decoder.process(more, output_buffer_limit=STEP)
            if not made and not more and not decoder.is_finished():
                raise ValueError("the br body is cut off")
            yield made
    except library.error:
        raise ValueError("the body is not valid br") from None
    if at < len(coded):
        raise ValueError("something follows the end of the br body")


def unzstd(coded: bytes) -> Iterator[bytes]:
    """One frame, with the `zstandard` package."""
    library: Any = import_module("zstandard")
    decoder = library.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
    at = 0
    try:
        while not decoder.eof:
            more = coded[at : at + ZSTD_PIECE]
            at += len(more)
            if not more:
                raise ValueError("the zstd body is cut off")
            yield decoder.decompress(more)
    except library.ZstdError:
        raise ValueError("the body is not valid zstd") from None
    if decoder.unused_data or at < len(coded):
        raise ValueError("something follows the end of the zstd body")
