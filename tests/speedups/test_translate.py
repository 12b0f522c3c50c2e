"""The lane by itself, before a general way of a few lines: what it takes, what it leaves, and what it says of it."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor._speedups import sse
from tests.speedups.halves import KINDS, Kind, both, halves, pieces

HALVES = pytest.mark.parametrize("half", halves("translate"))


class General:
    """Turns `{"d":{"t":TEXT}}` into `{"n":NUMBER,"x":TEXT}`, reads counts, and teaches its lane as it goes."""

    def __init__(self, lane: Any, *, numbered: bool = False) -> None:
        self.lane, self.numbered = lane, numbered
        self.number = 0
        self.texts: list[str] = []
        self.counts: list[Any] = []
        self.heard: list[bytes] = []
        self.frames = sse.Decoder()

    def feed(self, data: Any) -> bytes:
        return bytes(self.lane.feed(data, self.general))

    def general(self, data: bytes, whole: bool) -> bytes:
        self.settle()
        self.heard.append(data)
        raw = data if whole else b""
        out = b"".join([self.event(orjson.loads(frame.data), raw) for frame in self.frames.feed(data)])
        if not whole or not out:
            self.lane.forget()
        self.lane.number = self.number
        return out

    def event(self, document: Any, raw: bytes) -> bytes:
        if "usage" in document:
            self.counts.append(document["usage"])
        text = document.get("d", {}).get("t") if document.get("stop") is None else ""
        if not text:
            return b""
        self.texts.append(text)
        number = b'"n":%d,' % self.number if self.numbered else b""
        self.number += 1
        out = b'data: {%b"x":%b}\n\n' % (number, orjson.dumps(text))
        if raw:
            self.lane.learn(raw, orjson.dumps(text), out)
        return out

    def settle(self) -> None:
        text, last = self.lane.take()
        if text:
            self.texts.append(orjson.loads(text))
            self.number = self.lane.number
        if last:
            self.counts.append(orjson.loads(sse.data_of(last))["usage"])


def lane(half: Any, **more: Any) -> Any:
    return half.Lane(idle=(b"pad",), counts=b"usage", **more)


def event(text: str, **more: Any) -> bytes:
    return b"data: " + orjson.dumps({"d": {"t": text}, **more}) + b"\n\n"


def taught(half: Any, *shown: bytes) -> General:
    """A general way whose lane has learned from these events."""
    general = General(lane(half))
    for one in shown or (event("a"), event("b")):
        general.feed(one)
    return general


def takes(one: bytes, *shown: bytes) -> bool:
    """Whether the lane takes an event after it has been shown others. What it makes of it is checked, too."""
    pure, compiled = both("translate")
    fast, slow = taught(compiled, *shown), taught(pure, *shown)
    before = fast.lane.carried
    assert fast.feed(one) == slow.feed(one)
    return bool(fast.lane.carried > before)


STREAM = b"".join([
    event("one"), event(" two"), event(" thr\u00e9e\n"), event(" \U0001f600"), b": still here\n\n",
    event(" f\\our"), event(' "five"'), event("", stop="end"), event("six"), event("seven"), event("eight"),
])  # fmt: skip


@HALVES
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_anywhere_changes_nothing(half: Any, kind: Kind) -> None:
    whole = General(lane(half)).feed(kind(STREAM))
    for at in range(len(STREAM) + 1):
        general = General(lane(half))
        assert general.feed(kind(STREAM[:at])) + general.feed(kind(STREAM[at:])) == whole
        general.settle()
        assert "".join(general.texts) == 'one two thr\u00e9e\n \U0001f600 f\\our "five"sixseveneight'


@HALVES
@pytest.mark.parametrize("size", [1, 2, 3, 7, 31])
def test_small_reads_change_nothing(half: Any, size: int) -> None:
    general = General(lane(half))
    assert b"".join(general.feed(piece) for piece in pieces(STREAM, size)) == General(lane(half)).feed(STREAM)


@HALVES
def test_whatever_is_not_taken_reaches_the_general_way_in_order(half: Any) -> None:
    general = General(lane(half))
    general.feed(STREAM)
    at, taken = 0, []
    for heard in general.heard:
        start = STREAM.index(heard, at)
        taken.append(STREAM[at:start])
        at = start + len(heard)
    taken.append(STREAM[at:])
    events = re.findall(rb'data: \{"d":\{"t":"(?:[^"\\]|\\.)+"\}\}\n\n', b"".join(taken))
    assert b"".join(events) == b"".join(taken)
    assert len(events) == general.lane.carried


def test_the_lane_takes_what_it_has_been_shown_twice() -> None:
    assert takes(event("c"))
    assert not takes(event("c"), event("a"))


def test_the_same_text_twice_proves_nothing() -> None:
    assert not takes(event("c"), event("a"), event("a"))
    assert takes(event("c"), event("a"), event("a"), event("b"))


@pytest.mark.parametrize(
    "one",
    [
        b'data: {"d":{"t":"c"}}   \n\n',
        b'data:  { "d" :\t{ "t" : "c" } }\n\n',
        b'data: {"d":{"t":"c" }}\n\n',
        b'data: {"d":{"t":"\\u0041\\/\\ud83d\\ude00\\u00e9"}}\n\n',
        b'data: {"d":{"t":"\xc3\xa9\xf0\x9f\x98\x80\x7f"}}\n\n',
        b'data: {"d":{"t":"' + b"x" * 60_000 + b'"}}\n\n',
    ],
)
def test_white_space_between_tokens_and_any_spelling_are_taken(one: bytes) -> None:
    assert takes(one)


@pytest.mark.parametrize(
    "one",
    [
        event(""), event("c", stop="end"), event("c", d2={}),
        b'data: {"d":{"t":null}}\n\n', b'data: {"d":{"u":"c"}}\n\n', b'data: {"d":{"t":"c","t":"d"}}\n\n',
        b'event: x\ndata: {"d":{"t":"c"}}\n\n', b'data: {"d":{"t":"c"}}\r\n\r\n', b'data:{"d":{"t":"c"}}\n\n',
        b'data: {"d":{"t":"c"}}\n: x\n\n', b'id: 1\ndata: {"d":{"t":"c"}}\n\n',
        b'data: {"d":{"t":"' + b"x" * 70_000 + b'"}}\n\n',
        b'\ndata: {"d":{"t":"c"}}\n\n',
    ],
)  # fmt: skip
def test_anything_else_goes_the_general_way(one: bytes) -> None:
    assert not takes(one)


@pytest.mark.parametrize(
    "text",
    [
        b'c"},"pad":"\\ud800', b"\\ud800", b"\\ude00\\ud83d", b"\\u12g4", b"\\x", b"\x01", b"\xff", b"\xc0\x80",
        b"\xed\xa0\x80", b"\\",
    ],
    ids=repr,
)  # fmt: skip
def test_a_text_that_is_no_json_string_is_not_taken(text: bytes) -> None:
    _, compiled = both("translate")
    general = taught(compiled)
    carried, heard = general.lane.carried, []
    one = b'data: {"d":{"t":"%b"}}\n\n' % text
    general.lane.feed(one, lambda data, whole: heard.append((data, whole)) or b"")
    assert general.lane.carried == carried
    assert heard == [(one, True)]


def test_idle_strings_may_differ_and_others_may_not() -> None:
    shown = event("a", pad="x"), event("b", pad="")
    assert takes(event("c", pad="\u00e9\n"), *shown)
    assert not takes(event("c", pad=1), *shown)
    assert not takes(event("c"), *shown)
    assert not takes(event("c", kept="y"), event("a", kept="x"), event("b", kept="x"))


def test_counts_may_differ_while_they_are_positive() -> None:
    shown = event("a", usage={"in": 5, "more": [{"out": 1}]}), event("b", usage={"in": 5, "more": [{"out": 2}]})
    assert takes(event("c", usage={"in": 6, "more": [{"out": 345}]}), *shown)
    assert takes(event("c", usage={"in": 6, "more": [{"out": 10**15 - 1}]}), *shown)
    for odd in (0, -1, 1.5, 10**15, None):
        assert not takes(event("c", usage={"in": 6, "more": [{"out": odd}]}), *shown)
    assert not takes(event("c", usage={"in": 6}), *shown)
    assert not takes(event("c", n=2), event("a", n=1), event("b", n=1))


def test_a_text_that_is_there_twice_must_be_there_twice_again() -> None:
    shown = event("a", same="a"), event("b", same="b")
    assert takes(event("c", same="c"), *shown)
    assert not takes(event("c", same="d"), *shown)


@HALVES
def test_texts_and_last_counts_are_told_afterwards(half: Any) -> None:
    general = General(lane(half))
    for i, text in enumerate(("a", "b", "c\n", "\u00e9", "e")):
        general.feed(event(text, usage={"out": i + 1}))
    general.settle()
    assert "".join(general.texts) == "abc\n\u00e9e"
    assert general.counts[-1] == {"out": 5}
    assert general.lane.take() == (b"", b"")


@HALVES
def test_events_are_numbered_without_a_gap(half: Any) -> None:
    general = General(lane(half, counter=b'"n":'), numbered=True)
    out = general.feed(STREAM)
    numbers = [orjson.loads(line[6:])["n"] for line in out.split(b"\n\n") if line]
    assert numbers == list(range(9))


def test_a_general_way_that_does_otherwise_is_not_imitated() -> None:
    """What it makes of an event depends on the text: the second example is not what the first foretold."""
    _, compiled = both("translate")
    one = lane(compiled)
    for text in (b'"a"', b'"bb"', b'"ccc"'):
        raw = b'data: {"d":{"t":%b}}\n\n' % text
        assert one.feed(raw, lambda data, whole: b"general") == b"general"
        one.learn(raw, text, b'data: {"size":%d,"x":%b}\n\n' % (len(text), text))
    assert one.carried == 0


@pytest.mark.parametrize("out", [b"", b"nothing", b'data: {"x":"a","y":"a"}\n\n'])
def test_nothing_is_learned_from_an_output_without_exactly_one_text(out: bytes) -> None:
    _, compiled = both("translate")
    one = lane(compiled)
    for text in (b'"a"', b'"b"', b'"c"'):
        raw = b'data: {"d":{"t":%b}}\n\n' % text
        one.feed(raw, lambda data, whole: b"")
        one.learn(raw, text, out.replace(b'"a"', text))
    assert one.carried == 0


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"d":{"t":"a"}}', b'data: {"d":{"t":"a"}\n\n', b'{"d":{"t":"a"}}\n\n', b'data: {"t":"\n\n', b"",
        b'data: {"d":\ndata: {"t":"a"}}\n\n', b'retry: 1\ndata: {"t":"a"}\n\n', b'data: {"t":"a"}\r\r',
        b'data: {"a":1}\n\n', b'data: "a"\n\n', b'data: ["a"]\n\n', b'data: {"t":"a"} x\n\n',
        b'data: {' + b'"t":"a",' * 40 + b'"u":"a"}\n\n',
    ],
)  # fmt: skip
def test_nothing_is_learned_from_what_is_not_one_plain_event(raw: bytes) -> None:
    _, compiled = both("translate")
    one = lane(compiled)
    one.learn(raw, b'"a"', b'data: {"x":"a"}\n\n')
    one.learn(raw.replace(b'"a"', b'"b"'), b'"b"', b'data: {"x":"b"}\n\n')
    again = raw.replace(b'"a"', b'"c"')
    one.feed(again, lambda data, whole: b"")
    assert one.carried == 0


def test_after_forgetting_it_must_be_shown_again() -> None:
    _, compiled = both("translate")
    general = taught(compiled)
    general.lane.forget()
    for text in "cde":
        general.feed(event(text))
    assert general.lane.carried == 1


def test_lines_that_end_in_a_lone_cr_are_no_whole_events() -> None:
    _, compiled = both("translate")
    heard: list[tuple[bytes, bool]] = []
    one = lane(compiled)
    stream = b"data: 1\r\rdata: 2\n\ndata: 3\r\n\r\n: x\r\n\rdata: 4\n\n"
    one.feed(stream, lambda data, whole: heard.append((data, whole)) or b"")
    assert heard == [
        (b"data: 1\r\rdata: 2\n\n", False), (b"data: 3\r\n\r\n", True), (b": x\r\n\rdata: 4\n\n", False),
    ]  # fmt: skip


def test_text_that_nobody_takes_is_bounded() -> None:
    _, compiled = both("translate")
    general = taught(compiled)
    for _ in range(100):
        general.feed(event("x" * 500))
    assert general.lane.carried < 95
    assert len(general.lane.take()[0]) < 4096 + 600


def test_a_lane_with_nothing_to_do_steps_aside() -> None:
    _, compiled = both("translate")
    one, heard = lane(compiled), []
    stream = b"data: 1\n\n" * 1000
    for _ in range(3):
        one.feed(stream, lambda data, whole: heard.append(data) or b"")
    assert len(heard) <= 1002


@given(st.text(max_size=30))
def test_any_text_comes_out_as_it_went_in(text: str) -> None:
    pure, compiled = both("translate")
    fast, slow = taught(compiled), taught(pure)
    assert fast.feed(event(text)) == slow.feed(event(text))
    assert fast.lane.carried == bool(text)


@given(st.text(max_size=30))
def test_escaped_text_is_spelled_as_orjson_spells_it(text: str) -> None:
    pure, compiled = both("translate")
    units = text.encode("utf-16-be", "surrogatepass")
    spelled = b"".join(b"\\u%b" % units[i : i + 2].hex().encode() for i in range(0, len(units), 2))
    one = b'data: {"d":{"t":"%b"}}\n\n' % spelled
    fast, slow = taught(compiled), taught(pure)
    assert fast.feed(one) == slow.feed(one)
    assert fast.lane.carried == bool(text)
