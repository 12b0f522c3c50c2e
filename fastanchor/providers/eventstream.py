"""The binary event-stream framing of AWS services, taken apart.

A message is: total length and headers length (4 bytes each, big endian), the CRC-32 of those eight bytes, the headers,
the payload, and the CRC-32 of all before it. A header is a name with a one-byte length, a type, and a value.
Source: "Event stream encoding" of the Amazon Transcribe developer guide, which documents the format for all services.
"""

from __future__ import annotations

import struct
from binascii import crc32
from typing import NamedTuple

MAX_MESSAGE = 24 * 1024 * 1024
"""Bytes; the services' own limit is 16 MiB of payload, and the payload here is base64."""

MAX_HEADERS = 128 * 1024
_PRELUDE = 12
_OVERHEAD = 16
_WIDTHS = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # bytes of the value, by header type
_BYTES, _STRING = 6, 7


class BadFrame(ValueError):
    """The stream is not in this framing, or damaged; it cannot be read any further."""


class Message(NamedTuple):
    """One message. Only headers of type string are kept."""

    headers: dict[str, str]
    payload: bytes


class Unpacker:
    """Bytes of a stream → its messages."""

    def __init__(self, max_message: int = MAX_MESSAGE) -> None:
        self._max = max_message
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now. Raises BadFrame."""
        self._held += data
        out, at = [], 0
        while (size := self._size(at)) and len(self._held) - at >= size:
            out.append(self._message(bytes(self._held[at : at + size])))
            at += size
        del self._held[:at]
        return out

    @property
    def pending(self) -> bool:
        """Whether a message has begun and is not complete."""
        return bool(self._held)

    def _size(self, at: int) -> int:
        """The length of the message at an offset, 0 while its prelude is not there."""
        if len(self._held) - at < _PRELUDE:
            return 0
        size, headers, check = struct.unpack_from(">III", self._held, at)
        if crc32(self._held[at : at + 8]) != check:
            raise BadFrame("the checksum of a message's prelude is wrong")
        if not _OVERHEAD + headers <= size <= self._max or headers > MAX_HEADERS:
            raise BadFrame("the lengths of a message are out of bounds")
        return int(size)

    def _message(self, message: bytes) -> Message:
        if crc32(message[:-4]) != struct.unpack(">I", message[-4:])[0]:
            raise BadFrame("the checksum of a message is wrong")
        split = _PRELUDE + struct.unpack_from(">I", message, 4)[0]
        return Message(_headers(message[_PRELUDE:split]), message[split:-4])


def _headers(block: bytes) -> dict[str, str]:
    out: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            behind = at + 1 + block[at]
            name, kind = block[at + 1 : behind].decode(), block[behind]
            at = behind + 1
            if kind in (_BYTES, _STRING):
                (width,) = struct.unpack_from(">H", block, at)
                at += 2
            else:
                width = _WIDTHS[kind]
            value = block[at : at + width]
            if len(value) < width:
                raise BadFrame("a header is cut off")
            if kind == _STRING:
                out[name] = value.decode()
            at += width
    except (IndexError, KeyError, struct.error, UnicodeDecodeError):
        raise BadFrame("the headers of a message cannot be read") from None
    return out
