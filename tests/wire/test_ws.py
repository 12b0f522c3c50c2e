"""WebSocket, family by family as in the Autobahn test suite: an echo server, and frames by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
import trio

from fastanchor.wire import Reply, Request
from fastanchor.wire.server_ws import websocket
from tests.kit.websocket import (
    ACCEPTED,
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close,
    frame,
    frames,
    handshake,
    text,
)
from tests.kit.wires import RawClient, cut, served

BYE = close(1000)


async def echo(request: Request, reply: Reply) -> None:
    async with websocket(request, reply) as one:
        while (message := await one.receive()) is not None:
            await one.send(message.encode())


@asynccontextmanager
async def opened() -> AsyncIterator[RawClient]:
    """A client of the echo server, its hand shaken."""
    async with served(echo) as client:
        await client.write(handshake())
        head, _, client.received = client.read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        yield client


async def said(pieces: Iterable[bytes]) -> tuple[list[Frame], bool]:
    """What the server answers, frame by frame, and whether it ended the connection."""
    async with opened() as client:
        await client.write_pieces(pieces)
        return list(frames(client.read())), client.ended


async def refused(*pieces: bytes, code: int = 1002) -> list[Frame]:
    """The frames before the close frame with this code, which is the last."""
    got, ended = await said(pieces)
    assert [one.code for one in got if one.opcode == CLOSE] == [code]
    assert got[-1].opcode == CLOSE
    assert ended
    return got[:-1]


def texts(got: Iterable[Frame]) -> list[str]:
    return [one.payload.decode() for one in got if one.opcode == TEXT]


class TestHandshake:
    async def test_is_accepted(self) -> None:
        async with served(echo) as client:
            await client.write(handshake())
            head = client.read()
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"\r\nsec-websocket-accept: " + ACCEPTED + b"\r\n" in head.lower().replace(ACCEPTED.lower(), ACCEPTED)
        assert b"\r\nconnection: upgrade\r\nupgrade: websocket\r\n" in head.lower()

    async def test_messages_may_come_with_the_handshake(self) -> None:
        async with served(echo) as client:
            await client.write(handshake() + text("early"))
            assert client.read().endswith(b"\x81\x05early")

    @pytest.mark.parametrize("size", [1, 7, 100])
    async def test_comes_in_pieces(self, size: int) -> None:
        async with served(echo) as client:
            await client.write_pieces(cut(handshake() + text("x"), size))
            assert client.read().endswith(b"\x81\x01x")

    async def test_no_extension_is_taken(self) -> None:
        async with served(echo) as client:
            await client.write(handshake(b"/", b"sec-websocket-extensions: permessage-deflate"))
            assert b"sec-websocket-extensions" not in client.read().lower()

    async def test_names_and_words_are_compared_without_case(self) -> None:
        request = handshake().replace(b"upgrade: websocket", b"UPGRADE: h2c, WebSocket")
        request = request.replace(b"connection: Upgrade", b"Connection: keep-alive, UPGRADE")
        async with served(echo) as client:
            await client.write(request)
            assert client.read().startswith(b"HTTP/1.1 101 ")


LENGTHS = [0, 1, 125, 126, 127, 128, 65_535, 65_536, 100_000]


class TestFraming:
    """Family 1."""

    @pytest.mark.parametrize("length", LENGTHS)
    async def test_text_comes_back(self, length: int) -> None:
        message = "*" * length
        got, _ = await said([text(message)])
        assert texts(got) == [message]

    @pytest.mark.parametrize("size", [1, 997])
    async def test_chopped(self, size: int) -> None:
        message = "x" * (300 if size == 1 else 65_536)
        got, _ = await said(cut(text(message), size))
        assert texts(got) == [message]

    async def test_many_messages_in_one_write(self) -> None:
        got, _ = await said([b"".join(text(str(i)) for i in range(200))])
        assert texts(got) == [str(i) for i in range(200)]

    async def test_a_binary_message_is_refused(self) -> None:
        assert await refused(frame(BINARY, b"\x00\xff"), BYE, code=1003) == []

    async def test_an_unmasked_frame_is_refused(self) -> None:
        await refused(frame(TEXT, b"x", mask=False))

    @pytest.mark.parametrize(("length", "size"), [(0, 2), (125, 2), (125, 8), (126, 8), (65_535, 8)])
    async def test_a_length_in_too_many_bytes_is_refused(self, length: int, size: int) -> None:
        await refused(frame(TEXT, b"x" * length, size=size))

    async def test_a_negative_length_is_refused(self) -> None:
        await refused(frame(TEXT, length=1 << 63, size=8))


class TestPing:
    """Family 2."""

    @pytest.mark.parametrize("payload", [b"", b"x", bytes(range(125))])
    async def test_is_answered_with_its_payload(self, payload: bytes) -> None:
        got, _ = await said([frame(PING, payload)])
        assert got == [Frame(PONG, payload)]

    async def test_over_125_bytes_is_refused(self) -> None:
        await refused(frame(PING, b"x" * 126))

    async def test_a_pong_nobody_asked_for_is_ignored(self) -> None:
        got, ended = await said([frame(PONG, b"surprise"), frame(PING, b"1")])
        assert (got, ended) == ([Frame(PONG, b"1")], False)

    async def test_ten_at_once_in_order(self) -> None:
        got, _ = await said([b"".join(frame(PING, b"%d" % i) for i in range(10))])
        assert [one.payload for one in got] == [b"%d" % i for i in range(10)]

    async def test_ten_byte_by_byte(self) -> None:
        got, _ = await said(cut(b"".join(frame(PING, b"%d" % i) for i in range(10)), 1))
        assert [one.payload for one in got] == [b"%d" % i for i in range(10)]


class TestReserved:
    """Families 3 and 4."""

    @pytest.mark.parametrize("rsv", range(1, 8))
    @pytest.mark.parametrize("opcode", [TEXT, PING, CLOSE])
    async def test_bits_are_refused(self, rsv: int, opcode: int) -> None:
        before = await refused(text("good"), frame(opcode, b"", rsv=rsv), text("late"), frame(PING))
        assert texts(before) == ["good"]

    async def test_bits_are_refused_within_a_message(self) -> None:
        assert await refused(frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b", rsv=4)) == []

    @pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
    @pytest.mark.parametrize("payload", [b"", b"x"])
    async def test_opcodes_are_refused(self, opcode: int, payload: bytes) -> None:
        before = await refused(text("good"), frame(opcode, payload), frame(PING))
        assert texts(before) == ["good"]


class TestFragments:
    """Family 5."""

    async def test_become_one_message(self) -> None:
        pieces = [frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b", fin=False), frame(CONTINUATION, b"c")]
        for way in (pieces, [b"".join(pieces)], cut(b"".join(pieces), 1)):
            got, _ = await said(way)
            assert texts(got) == ["abc"]

    async def test_may_be_empty(self) -> None:
        got, _ = await said([frame(TEXT, fin=False), frame(CONTINUATION, fin=False), frame(CONTINUATION)])
        assert texts(got) == [""]

    async def test_a_ping_may_come_between(self) -> None:
        got, _ = await said([frame(TEXT, b"a", fin=False), frame(PING, b"!"), frame(CONTINUATION, b"b")])
        assert got == [Frame(PONG, b"!"), Frame(TEXT, b"ab")]

    @pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
    async def test_of_control_frames_are_refused(self, opcode: int) -> None:
        await refused(frame(opcode, b"", fin=False))

    @pytest.mark.parametrize("fin", [True, False])
    async def test_without_a_beginning_are_refused(self, fin: bool) -> None:
        await refused(frame(CONTINUATION, b"x", fin=fin), text("y"))

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    async def test_another_message_within_is_refused(self, opcode: int) -> None:
        await refused(frame(TEXT, b"a", fin=False), frame(opcode, b"b"))


EURO = "κόσμε €𐍈"
INVALID = [
    b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xfe", b"\xff", b"\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
]  # fmt: skip
TRUNCATED = [b"\xc2", b"\xe1\x80", b"\xf0\x9f\x98", EURO.encode()[:-1]]


class TestUtf8:
    """Family 6."""

    async def test_may_be_cut_anywhere(self) -> None:
        whole = EURO.encode()
        for at in range(len(whole) + 1):
            got, _ = await said([frame(TEXT, whole[:at], fin=False), frame(CONTINUATION, whole[at:])])
            assert texts(got) == [EURO]
        got, _ = await said(cut(frame(TEXT, whole), 1))
        assert texts(got) == [EURO]

    @pytest.mark.parametrize("invalid", INVALID)
    async def test_what_is_invalid_is_refused_before_the_message_ends(self, invalid: bytes) -> None:
        await refused(frame(TEXT, b"good " + invalid, fin=False), code=1007)

    @pytest.mark.parametrize("invalid", INVALID)
    async def test_what_is_invalid_is_refused_before_the_frame_ends(self, invalid: bytes) -> None:
        whole = frame(TEXT, invalid + b"x" * 100)
        await refused(whole[: 6 + len(invalid)], code=1007)

    @pytest.mark.parametrize("truncated", TRUNCATED)
    async def test_what_is_cut_off_is_refused(self, truncated: bytes) -> None:
        await refused(frame(TEXT, truncated), code=1007)

    @pytest.mark.parametrize(
        "good",
        ["\x00", "\x7f", "\x80", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff", "\ufdd0"],
    )
    async def test_the_ends_of_every_length_pass(self, good: str) -> None:
        got, _ = await said([text(good)])
        assert texts(got) == [good]


class TestClose:
    """Family 7."""

    @pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1014), 3000, 3999, 4000, 4999])
    async def test_codes_are_echoed(self, code: int) -> None:
        got, ended = await said([close(code, b"bye")])
        assert [(one.opcode, one.code) for one in got] == [(CLOSE, code)]
        assert ended

    @pytest.mark.parametrize(
        "code", [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]
    )
    async def test_codes_nobody_may_send_are_refused(self, code: int) -> None:
        await refused(close(code))

    async def test_without_a_code(self) -> None:
        got, ended = await said([close()])
        assert [one.payload for one in got] == [b""]
        assert ended

    async def test_half_a_code_is_refused(self) -> None:
        await refused(frame(CLOSE, b"\x03"))

    async def test_a_reason_of_123_bytes(self) -> None:
        got, _ = await said([close(1000, b"x" * 123)])
        assert got[0].code == 1000

    async def test_a_longer_reason_is_refused(self) -> None:
        await refused(close(1000, b"x" * 124))

    async def test_a_reason_that_is_no_text_is_refused(self) -> None:
        await refused(close(1000, b"\xce\xba\xed\xa0\x80"), code=1007)

    async def test_what_follows_is_ignored(self) -> None:
        got, ended = await said([BYE + text("late") + frame(PING) + BYE])
        assert [one.opcode for one in got] == [CLOSE]
        assert ended

    async def test_comes_byte_by_byte(self) -> None:
        got, ended = await said(cut(text("x") + close(1001, b"bye"), 1))
        assert (texts(got), got[-1].code, ended) == (["x"], 1001, True)

    async def test_within_a_message_ends_it(self) -> None:
        got, _ = await said([frame(TEXT, b"a", fin=False), BYE])
        assert [one.opcode for one in got] == [CLOSE]


class TestSizes:
    """Families 9 and 10."""

    @pytest.mark.parametrize("size", [64 * 1024, 256 * 1024, 1024 * 1024])
    async def test_a_message_up_to_the_limit(self, size: int) -> None:
        async with opened() as client:
            data = memoryview(text("m" * size))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send, client, data)
                await client.read_until(b"m" * size)

    @pytest.mark.parametrize("length", [64, 256, 1024, 4096])
    async def test_a_message_in_fragments(self, length: int) -> None:
        whole = b"f" * 65_536
        count = max(len(whole) // 256, length)
        pieces = cut(whole, count)
        sent = [frame(TEXT if not i else CONTINUATION, p, fin=i == len(pieces) - 1) for i, p in enumerate(pieces)]
        got, _ = await said([b"".join(sent)])
        assert texts(got) == [whole.decode()]


async def _send(client: RawClient, data: memoryview) -> None:
    while data:
        await trio.lowlevel.wait_writable(client.sock)
        data = data[client.sock.send(data) :]
