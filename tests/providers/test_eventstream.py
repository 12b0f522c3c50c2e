"""The binary framing of AWS event streams: whole, cut anywhere, damaged, hostile."""

from __future__ import annotations

import struct
from binascii import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.providers.eventstream import BadFrame, Message, Unpacker

eventstream = pytest.importorskip("botocore.eventstream")


def packed(headers: dict[str, str], payload: bytes) -> bytes:
    """One message."""
    block = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    return framed(block, payload)


def framed(block: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    body = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return body + struct.pack(">I", crc32(body))


TEXTS = st.dictionaries(st.text(st.characters(codec="ascii"), max_size=9), st.text(max_size=9).map(
    lambda text: text.encode("utf-8", "replace").decode()), max_size=3)  # fmt: skip


@given(st.lists(st.tuples(TEXTS, st.binary(max_size=60)), max_size=4), st.integers(1, 30))
def test_messages_come_out_as_they_went_in_and_as_botocore_reads_them(
    messages: list[tuple[dict[str, str], bytes]], size: int
) -> None:
    data = b"".join(packed(headers, payload) for headers, payload in messages)
    unpacker = Unpacker()
    out = [message for at in range(0, len(data), size) for message in unpacker.feed(data[at : at + size])]
    assert out == [Message(headers, payload) for headers, payload in messages]
    assert not unpacker.pending
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(data)
    assert [(message.headers, message.payload) for message in buffer] == messages


def test_headers_of_other_types_are_passed_over() -> None:
    values = [(0, b""), (1, b""), (2, b"1"), (3, b"12"), (4, b"1234"), (5, b"12345678"), (6, b"\x00\x02ab"),
              (8, b"12345678"), (9, b"1" * 16)]  # fmt: skip
    block = b"".join(b"\x01h" + bytes([kind]) + value for kind, value in values) + b"\x01s\x07\x00\x01x"
    assert Unpacker().feed(framed(block, b"p")) == [Message({"s": "x"}, b"p")]


@given(st.data())
def test_a_damaged_byte_is_found(data: st.DataObject) -> None:
    good = packed({":event-type": "chunk"}, b"payload")
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= 1 << data.draw(st.integers(0, 7))
    unpacker = Unpacker()
    try:
        out = unpacker.feed(bytes(bad))
    except BadFrame:
        return
    assert out == []
    assert unpacker.pending


@pytest.mark.parametrize(("size", "headers"), [(8, 0), (15, 0), (16, 1), (2**31, 0), (400_000, 200_000)])
def test_lengths_out_of_bounds_are_refused_at_once(size: int, headers: int) -> None:
    prelude = struct.pack(">II", size, headers)
    with pytest.raises(BadFrame):
        Unpacker().feed(prelude + struct.pack(">I", crc32(prelude)))


@pytest.mark.parametrize("block", [b"\x05ab", b"\x01h\x0f", b"\x01h\x07\x00\x09ab", b"\x01h\x04ab", b"\x01\xff\x00"])
def test_headers_that_cannot_be_read_are_refused(block: bytes) -> None:
    with pytest.raises(BadFrame):
        Unpacker().feed(framed(block, b""))


@given(st.binary(max_size=80))
def test_hostile_bytes_are_refused_or_wait(data: bytes) -> None:
    unpacker = Unpacker()
    try:
        unpacker.feed(data)
    except BadFrame:
        return
    assert unpacker.pending is bool(data)
