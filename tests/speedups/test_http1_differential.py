"""Whatever bytes come: both halves read the same, and nothing that a strict reader refuses or reads differently."""

from __future__ import annotations

from types import ModuleType

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor._speedups.http1 import BadMessage, ResponseHead
from tests.kit.http1_readers import Reading, read_by, read_by_h11, read_by_llhttp
from tests.speedups.halves import both
from tests.wire.vectors import bodies, chunked, fields, get, lines, post

INSERTED = [b"\r", b"\n", b"\0", b"\t", b" ", b":", b",", b";", b"\x0b", b"\x80", b"\x85", b"\xa0", b"\xff"]
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
SEEDS = [
    get(),
    get(line=b"GET /a/b?c=d&e HTTP/1.1", host=b"example.org:8080"),
    get(line=b"GET http://h/a?b HTTP/1.1"),
    get(line=b"OPTIONS * HTTP/1.1"),
    get(b"Connection: keep-alive", line=b"GET / HTTP/1.0"),
    post(b"Content-Length: 3", body=b"abc"),
    post(b"Content-Type: application/json", b"Authorization: Bearer k", b"Content-Length: 2", body=b"{}"),
    chunked(CHUNKS),
    chunked(b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n"),
    get() + get(line=b"GET /2 HTTP/1.1"),
    post(b"Content-Length: 3", body=b"abc") + get(),
    chunked(CHUNKS) + get(b"Connection: close"),
]
KNOWN = {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"}


def check(data: bytes) -> None:
    """The halves agree, and each request they dispatch is the one that h11 and llhttp read at its place."""
    pure, compiled = both("http1")
    ours = read_by(compiled, data)
    assert ours == read_by(pure, data)
    if not all(method in KNOWN for method, _, _ in ours.requests):
        return  # llhttp knows a closed list of methods
    assert_no_more(ours, read_by_h11(data))
    if b"upgrade" not in data.lower():  # what follows one is the other protocol to llhttp, a body included
        assert_no_more(ours, read_by_llhttp(data))


def assert_no_more(ours: Reading, theirs: Reading) -> None:
    assert theirs.requests[: len(ours.requests)] == ours.requests


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_a_byte_inserted_anywhere(seed: bytes) -> None:
    for at in range(len(seed) + 1):
        for extra in INSERTED:
            check(seed[:at] + extra + seed[at:])


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_a_byte_left_out_or_doubled_anywhere(seed: bytes) -> None:
    for at in range(len(seed)):
        check(seed[:at] + seed[at + 1 :])
        check(seed[: at + 1] + seed[at:])


@pytest.mark.parametrize("vector", [*lines.VECTORS, *fields.VECTORS, *bodies.VECTORS], ids=str)
def test_the_table_of_vectors(vector: object) -> None:
    check(vector.data)  # type: ignore[attr-defined]


FRAGMENTS = [
    b"\r\n", b"\r\n\r\n", b"\r", b"\n", b" ", b"\t", b":", b",", b";", b"\0", b"\x80", b"0", b"3", b"a", b"=", b'"',
    b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: h\r\n",
    b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"chunked", b"identity", b"0\r\n\r\n", b"3\r\nabc\r\n",
    b"GET / HTTP/1.1\r\n", b"HTTP/1.0", b"#", b"?", b"*", b"http://h", b"Upgrade: h2c\r\n", b"X: y\r\n",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A seed with a few fragments inserted, bytes replaced, parts cut out or repeated."""
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 12)))
        kind = draw(st.sampled_from(("insert", "replace", "cut", "repeat")))
        piece = draw(st.sampled_from(FRAGMENTS) | st.binary(min_size=1, max_size=3))
        if kind == "repeat":
            data = data[:end] + data[at:end] + data[end:]
        else:
            data = data[:at] + (b"" if kind == "cut" else piece) + data[at if kind == "insert" else end :]
    return data


@given(mutated())
def test_mutated_messages(data: bytes) -> None:
    check(data)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map(b"".join))
def test_messages_made_of_fragments(data: bytes) -> None:
    check(data)


@given(mutated(), st.data())
def test_arriving_in_pieces_changes_no_verdict(data: bytes, draw: st.DataObject) -> None:
    """What a half says of a cut message, it does not take back: a head that was refused stays refused."""
    cut = draw.draw(st.integers(0, len(data)))
    for half in both("http1"):
        try:
            early = half.parse_request(data[:cut])
        except BadMessage:
            with pytest.raises(BadMessage):
                half.parse_request(data)
            continue
        if early is not None:
            assert half.parse_request(data) == early
        elif cut:
            assert outcome(half, data, cut) == outcome(half, data, 0)


def outcome(half: ModuleType, data: bytes, scanned: int) -> object:
    try:
        return half.parse_request(data, scanned=scanned)
    except BadMessage as error:
        return error.status


@given(st.binary(max_size=300), st.integers(1, 9))
def test_decoders_agree_on_anything(tail: bytes, step: int) -> None:
    """On whatever follows a chunk, in pieces: the same bytes, the same refusal."""
    data = b"3\r\nabc\r\n" + tail
    assert decoded(both("http1")[0], data, step) == decoded(both("http1")[1], data, step)


CHUNKY = st.lists(
    st.sampled_from(
        [b"1\r\nx\r\n", b"0\r\n", b"\r\n", b"X: y\r\n", b"2;a\r\nxy\r\n", b"\r", b"\n", b";", b"f", b"GET"]
    ),
    max_size=12,
).map(b"".join)


@given(CHUNKY, st.integers(1, 9))
def test_decoders_agree_on_almost_chunks(data: bytes, step: int) -> None:
    whole = decoded(both("http1")[0], data, len(data) or 1)
    assert decoded(both("http1")[1], data, len(data) or 1) == whole
    assert decoded(both("http1")[0], data, step) == decoded(both("http1")[1], data, step)
    if not isinstance(whole, int):
        assert decoded(both("http1")[0], data, step) == whole


def decoded(half: ModuleType, data: bytes, step: int) -> object:
    """(body, done, rest), or the status of the refusal."""
    decoder = half.ChunkDecoder(1000)
    body = b""
    try:
        for at in range(0, len(data), step):
            body += decoder.feed(data[at : at + step])
    except BadMessage as error:
        return error.status
    return body, decoder.done, decoder.rest


ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: a/b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b c\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 \r\nConnection: close\r\nRetry-After: 1\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
]


def check_answer(data: bytes) -> None:
    """The halves read the same response head; what they take, llhttp takes, with the same status and fields."""
    pure, compiled = both("http1")
    ours = answer(compiled, data)
    assert ours == answer(pure, data)
    if isinstance(ours, ResponseHead):
        theirs = AnswerCalls()
        theirs.parser = httptools.HttpResponseParser(theirs)
        theirs.parser.feed_data(data[: ours.size])
        assert (theirs.status, theirs.fields) == (ours.status, ours.headers)


class AnswerCalls:
    """Callbacks of llhttp for one response head."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.parser: httptools.HttpResponseParser | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        assert self.parser is not None
        self.status = self.parser.get_status_code()


def answer(half: ModuleType, data: bytes) -> object:
    try:
        return half.parse_response(data)
    except BadMessage as error:
        return error.status


@pytest.mark.parametrize("seed", ANSWERS, ids=range(len(ANSWERS)))
def test_a_byte_inserted_or_left_out_of_a_response(seed: bytes) -> None:
    for at in range(len(seed) + 1):
        check_answer(seed[:at] + seed[at + 1 :])
        for extra in INSERTED:
            check_answer(seed[:at] + extra + seed[at:])


@given(st.sampled_from(ANSWERS), st.data())
def test_mutated_responses(seed: bytes, draw: st.DataObject) -> None:
    data = seed
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data)))
        end = draw.draw(st.integers(at, min(len(data), at + 12)))
        data = data[:at] + draw.draw(st.sampled_from(FRAGMENTS) | st.binary(max_size=3)) + data[end:]
    check_answer(data)
