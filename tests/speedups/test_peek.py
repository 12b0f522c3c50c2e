"""What `peek` finds, what it calls odd, and what the edits make of a body, on both halves."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from tests.speedups.halves import KINDS, Kind, halves

WANTED = (b"model", b"stream", b"n", b"stream_options")
BODY = (
    b' {"model" : "gpt-4o","messages":[{"role":"user","content":"{\\"model\\":1} \\ud83d\\ude00 \xc3\xa9"}],\n'
    b'\t"stream":true, "n":3,"stream_options":{"include_usage":false,"model":"inner"}, "x":[1.5e-3,null,{},[]]} \r\n'
)


@pytest.fixture(params=halves("peek"))
def half(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


class TestFound:
    def test_members_of_each_type(self, half: Any, kind: Kind) -> None:
        found = half.peek(kind(BODY), WANTED)
        assert found.string(b"model") == "gpt-4o"
        assert found.boolean(b"stream") is True
        assert found.integer(b"n") == 3
        assert found.raw(b"stream_options") == b'{"include_usage":false,"model":"inner"}'
        assert BODY[found.object_end :] == b"} \r\n"
        assert not found.empty

    def test_a_span_is_the_value_as_it_stands(self, half: Any) -> None:
        start, end = half.peek(BODY, WANTED).span(b"model")
        assert BODY[start:end] == b'"gpt-4o"'

    def test_members_that_were_not_wanted_or_are_not_there_are_none(self, half: Any) -> None:
        found = half.peek(BODY, (b"model", b"user"))
        for name in (b"user", b"stream", b"messages"):
            assert found.span(name) is found.member(name) is found.raw(name) is None
            assert found.string(name) is found.integer(name) is found.boolean(name) is None

    @pytest.mark.parametrize("body", [b"{}", b" {} ", b"{ \n}", b"\t{\r}"])
    def test_an_empty_object(self, half: Any, kind: Kind, body: bytes) -> None:
        found = half.peek(kind(body), WANTED)
        assert found.empty
        assert body[found.object_end] == ord("}")

    @pytest.mark.parametrize(("value", "text"), [
        (b'""', ""),
        (b'"a b"', "a b"),
        (b'"meta-llama\\/Llama-3"', "meta-llama/Llama-3"),
        (b'"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041"', '"\\/\b\f\n\r\tA'),
        (b'"\\uD83D\\ude00\\u0000"', "\U0001f600\0"),
        ("\"é漢\U0001f600\uffff\U0010ffff\x7f\"".encode(), "é漢\U0001f600\uffff\U0010ffff\x7f"),
        (b'"123456789012345678901234567890\\n"', "123456789012345678901234567890\n"),
        (b"null", None),
        (b"1", None),
        (b'["a"]', None),
    ])
    def test_strings(self, half: Any, value: bytes, text: str | None) -> None:
        assert half.peek(b'{"model":%b}' % value, WANTED).string(b"model") == text

    @pytest.mark.parametrize(("value", "number"), [
        (b"0", 0), (b"-0", 0), (b"-12", -12), (b"9" * 18, 10**18 - 1), (b"-" + b"9" * 18, 1 - 10**18),
        (b"9" * 19, None), (b"1.0", None), (b"1e2", None), (b'"1"', None), (b"true", None), (b"null", None),
    ])
    def test_integers(self, half: Any, value: bytes, number: int | None) -> None:
        found = half.peek(b'{"n":%b}' % value, WANTED)
        assert found.integer(b"n") == number
        assert found.raw(b"n") == value

    @pytest.mark.parametrize(("value", "boolean"), [
        (b"true", True), (b"false", False), (b"null", None), (b"1", None), (b'"true"', None), (b"[true]", None),
    ])
    def test_booleans(self, half: Any, value: bytes, boolean: bool | None) -> None:
        assert half.peek(b'{"stream": %b }' % value, WANTED).boolean(b"stream") is boolean

    @pytest.mark.parametrize("number", [
        b"1.7976931348623157e308", b"-1.7976931348623157E+308", b"1e-999", b"0e999", b"0.0001e311", b"1" * 308,
        b"0." + b"1" * 1000, b"1" * 400 + b"e-200", b"12345678901234567890", b"1E5", b"2.5e-07",
    ])
    def test_numbers_that_a_double_holds(self, half: Any, number: bytes) -> None:
        body = b'{"x":[%b]}' % number
        assert half.peek(body, WANTED) is not None
        assert orjson.loads(body)

    def test_a_peek_into_a_member(self, half: Any, kind: Kind) -> None:
        span = half.peek(BODY, WANTED).span(b"stream_options")
        inner = half.peek(kind(BODY), (b"include_usage", b"model"), *span)
        assert inner.boolean(b"include_usage") is False
        assert inner.string(b"model") == "inner"
        assert inner.object_end == span.end - 1

    def test_a_buffer_may_change_afterwards(self, half: Any) -> None:
        buffer = bytearray(BODY)
        found = half.peek(buffer, WANTED)
        buffer.clear()
        assert found.string(b"model") == "gpt-4o"
        assert found.body == BODY

    def test_names_that_only_begin_alike_are_others(self, half: Any) -> None:
        found = half.peek(b'{"mode":1,"models":2,"Model":3,"":4,"model":5,"model ":6}', (*WANTED, b""))
        assert (found.integer(b"model"), found.integer(b"")) == (5, 4)

    def test_other_members_may_be_there_twice(self, half: Any) -> None:
        assert half.peek(b'{"a":1,"a":2,"model":"m","x":{"model":1,"model":2}}', WANTED).string(b"model") == "m"


ODD = {
    "nothing": b"",
    "white space": b" \n",
    "no object": b"[]",
    "a string": b'"model"',
    "byte order mark": b"\xef\xbb\xbf{}",
    "something behind": b'{"model":1} x',
    "two objects": b"{}{}",
    "nul behind": b"{}\0",
    "vertical tab": b"{\x0b}",
    "no-break space": b'{"a":\xc2\xa01}',
    "open": b'{"model":1',
    "comma at the end": b'{"model":1,}',
    "comma first": b'{,"model":1}',
    "two commas": b'{"a":1,,"model":1}',
    "no comma": b'{"a":1 "model":1}',
    "no colon": b'{"model" 1}',
    "no value": b'{"model":}',
    "key without quotes": b"{model:1}",
    "key in single quotes": b"{'model':1}",
    "number as key": b"{1:1}",
    "wanted twice": b'{"model":1,"a":2,"model":1}',
    "escaped key": b'{"\\u006dodel":1}',
    "wanted twice, once escaped": b'{"model":1,"m\\u006fdel":2}',
    "escape in another key": b'{"a\\n":1,"model":1}',
    "nan": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "literal in capitals": b'{"a":True}',
    "literal cut": b'{"a":tru}',
    "literal with more": b'{"a":nullx}',
    "comment": b'{"a":1/**/}',
    "plus": b'{"a":+1}',
    "leading zero": b'{"a":01}',
    "minus alone": b'{"a":-}',
    "no digit before the point": b'{"a":.5}',
    "no digit behind the point": b'{"a":1.}',
    "no exponent": b'{"a":1e}',
    "sign without exponent": b'{"a":1e+}',
    "hexadecimal": b'{"a":0x1}',
    "overflow": b'{"a":1e309}',
    "overflow, negative": b'{"a":-1.8e308}',
    "overflow, far": b'{"a":1e99999999999999999999}',
    "overflow by digits": b'{"a":' + b"1" * 310 + b"}",
    "very long number": b'{"a":0.' + b"1" * 1024 + b"}",
    "control character": b'{"a":"\x1f"}',
    "line feed in a string": b'{"a":"12345678\n"}',
    "control character in a key": b'{"\x00":1}',
    "unknown escape": b'{"a":"\\x41"}',
    "escaped nul byte": b'{"a":"\\\0"}',
    "short unicode escape": b'{"a":"\\u12"}',
    "no hexadecimal": b'{"a":"\\u12g4"}',
    "high surrogate alone": b'{"a":"\\ud800"}',
    "high surrogate, then text": b'{"a":"\\ud800xxxxxx"}',
    "two high surrogates": b'{"a":"\\ud800\\ud800"}',
    "two low surrogates": b'{"a":"\\udc00\\udc00"}',
    "low surrogate alone": b'{"a":"\\udc00"}',
    "open string": b'{"a":"b}',
    "string open behind a backslash": b'{"a":"b\\"}',
    "latin-1": b'{"a":"\xe9"}',
    "latin-1 in a key": b'{"\xe9":1}',
    "continuation alone": b'{"a":"\x80"}',
    "overlong": b'{"a":"\xc0\x80"}',
    "overlong, three bytes": b'{"a":"\xe0\x9f\xbf"}',
    "overlong, four bytes": b'{"a":"\xf0\x8f\xbf\xbf"}',
    "surrogate in utf-8": b'{"a":"\xed\xa0\x80"}',
    "above the last character": b'{"a":"\xf4\x90\x80\x80"}',
    "five bytes": b'{"a":"\xf8\x88\x80\x80\x80"}',
    "character cut by the quote": b'{"a":"\xe6\xbc"}',
    "character cut by the end": b'{"a":"\xe6\xbc',
    "brackets crossed": b'{"a":[{]}}',
    "bracket not closed": b'{"a":[1}',
    "bracket too many": b'{"a":1]}',
    "comma at the end of an array": b'{"a":[1,]}',
    "comma first in an array": b'{"a":[,1]}',
    "bad value deep inside": b'{"a":[[{"b":{"c":[1,tru]}}]]}',
}


class TestOdd:
    @pytest.mark.parametrize("name", ODD)
    def test_is_none(self, half: Any, kind: Kind, name: str) -> None:
        assert half.peek(kind(ODD[name]), WANTED) is None

    def test_every_cut_of_a_body(self, half: Any) -> None:
        body = BODY.rstrip()
        for end in range(len(body)):
            assert half.peek(body[:end], WANTED) is None
            assert half.peek(body, WANTED, 0, end) is None

    @pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
    def test_nesting_beyond_the_depth(self, half: Any, opening: bytes, closing: bytes) -> None:
        for depth in (1, 2, 128, 256):
            inner = depth - 1
            assert half.peek(b'{"x":' + opening * inner + b"1" + closing * inner + b"}", WANTED, depth=depth)
            assert not half.peek(b'{"x":' + opening * depth + b"1" + closing * depth + b"}", WANTED, depth=depth)

    def test_the_default_depth_is_128(self, half: Any) -> None:
        assert half.peek(b'{"x":' + b"[" * 127 + b"]" * 127 + b"}", WANTED)
        assert not half.peek(b'{"x":' + b"[" * 128 + b"]" * 128 + b"}", WANTED)

    def test_a_flood_of_brackets(self, half: Any) -> None:
        assert half.peek(b'{"x":' + b"[" * 1_000_000, WANTED, depth=256) is None

    @pytest.mark.parametrize("bounds", [(-1, 2), (0, 1000), (2, 1), (1000, None)])
    def test_bounds_outside_of_the_body_are_an_error(self, half: Any, bounds: tuple[int, int | None]) -> None:
        with pytest.raises(ValueError, match="start and end"):
            half.peek(BODY, WANTED, *bounds)
        with pytest.raises(ValueError, match="start and end"):
            half.count_text(BODY, *bounds)

    @pytest.mark.parametrize("depth", [0, -1, 257])
    def test_a_depth_out_of_range_is_an_error(self, half: Any, depth: int) -> None:
        with pytest.raises(ValueError, match="depth"):
            half.peek(BODY, WANTED, depth=depth)

    @pytest.mark.parametrize("body", ["{}", None, 5])
    def test_what_is_no_bytes_is_a_type_error(self, half: Any, body: Any) -> None:
        with pytest.raises(TypeError):
            half.peek(body, WANTED)


class TestEdits:
    def test_a_value_is_replaced_and_a_member_added(self, half: Any, kind: Kind) -> None:
        found = half.peek(BODY, WANTED)
        edits = [(found.object_end, found.object_end, b',"user":"u"'), (*found.span(b"model"), b'"m"')]
        edited = half.splice(kind(BODY), edits)
        assert orjson.loads(edited) == orjson.loads(BODY) | {"model": "m", "user": "u"}
        assert edited == BODY.replace(b'"gpt-4o"', b'"m"').replace(b"[]]}", b'[]],"user":"u"}')

    @pytest.mark.parametrize("body", [
        b'{"model":1}', b'{ "model" : 1 }', b'{"model":1,"a":2}', b'{ "model" : 1 , "a":2}', b'{"a":2,"model":1}',
        b'{"a":2 ,\n "model":1\n}', b'{"a":2,"model":{"x":[1,2]},"b":3}', b'{"a":",","model":",","b":","}',
    ])
    def test_a_member_is_removed_with_one_comma(self, half: Any, body: bytes) -> None:
        start, end = half.peek(body, WANTED).member(b"model")
        expected = orjson.loads(body)
        del expected["model"]
        assert orjson.loads(half.splice(body, [(start, end, b"")])) == expected

    def test_no_edits_keep_the_body(self, half: Any, kind: Kind) -> None:
        assert half.splice(kind(BODY), []) == BODY

    def test_edits_may_come_in_any_order_and_touch(self, half: Any) -> None:
        edits = [(4, 6, b"C"), (2, 2, b"x"), (0, 2, b"A"), (2, 4, b"B"), (2, 2, b"y"), (6, 6, b"!")]
        assert half.splice(b"aabbcc", edits) == b"AxyBC!"

    @pytest.mark.parametrize("edits", [
        [(0, 3, b""), (2, 4, b"")], [(0, 7, b"")], [(-1, 2, b"")], [(3, 2, b"")], [(7, 7, b"")],
        [(0, 4, b""), (1, 2, b"")],
    ])
    def test_edits_that_overlap_or_leave_the_body_are_an_error(self, half: Any, edits: Any) -> None:
        with pytest.raises(ValueError, match="edits overlap or leave the body"):
            half.splice(b"aabbcc", edits)


class TestCountText:
    @pytest.mark.parametrize(("body", "size"), [
        (b"", 0),
        (b"{}", 0),
        (b'"hello"', 5),
        (b'{"key":"hello","other" : "you"}', 8),
        (b'{"key"\r\n\t :"hello"}', 5),
        (b'["a","b",["c"],1,true,null]', 3),
        (b'"a\\"b\\\\"', 6),
        (b'"\\u00e9\\n"', 8),
        ('"é漢"'.encode(), 5),
        (b'{"a":"b:","c":":"}', 3),
        (b'{"url":"data:image/png;base64,AAAA","text":"abc"}', 3),
        (b'{"url":"dat","b":"data"}', 7),
        (b'{"data":"' + b"aB3+/=_-" * 128 + b'","text":"abc"}', 3),
        (b'{"data":"' + b"aB3+/=_-" * 128 + b' more","text":"abc"}', 3),
        (b'{"data":"' + b"a" * 1023 + b'","text":"abc"}', 1026),
        (b'{"data":" ' + b"a" * 2000 + b'","text":"abc"}', 2004),
        (b'{"data":"' + b"a" * 1023 + b"." + b"a" * 1000 + b'"}', 2024),
    ])
    def test_strings_count_and_keys_and_data_do_not(self, half: Any, kind: Kind, body: bytes, size: int) -> None:
        assert half.count_text(kind(body)) == size

    def test_only_the_span_counts(self, half: Any) -> None:
        body = b'{"a":"hello","b":["you"],"c":"there"}'
        start, end = half.peek(body, (b"b",)).span(b"b")
        assert half.count_text(body, start, end) == 3
        assert half.count_text(body, start) == 8
        assert half.count_text(body, 5, 12) == 5
        assert half.count_text(body, end, end) == 0

    @pytest.mark.parametrize(("body", "size"), [
        (b'"open', 4), (b'"open\\', 4), (b'"open\\"', 6), (b'"', 0), (b'"a" "', 1), (b'"\n\x00"', 2), (b'"\xe9\xff', 2),
    ])
    def test_a_string_that_is_not_valid_counts_as_far_as_it_goes(self, half: Any, body: bytes, size: int) -> None:
        assert half.count_text(body) == size


class TestTime:
    """Bounds that a quadratic reader misses by far: the linear one needs well under a tenth of them."""

    @pytest.mark.parametrize("unit", [
        b'"a":1,', b'"', b"\\", b'\\"', b'"\\', b"[", b"{", b'{"":', b'"a":"b",', b" ", b"1", b"\xc3\xa9", b"\xe6\xbc",
        b'"model":1,',
    ])
    def test_a_hostile_megabyte(self, half: Any, unit: bytes) -> None:
        body = b"{" + unit * (1024 * 1024 // len(unit))
        began = time.process_time()
        assert half.peek(body, WANTED) is None
        assert half.peek(b'{"a":"' + body, WANTED) is None
        assert half.count_text(body) <= len(body)
        assert time.process_time() - began < 10

    def test_a_body_of_8_mib(self, half: Any) -> None:
        text = "He said \"né\", ".encode().replace(b'"', b'\\"') * (512 * 1024)
        body = b'{"messages":[{"content":"' + text + b'"}],"model":"m"}'
        began = time.process_time()
        assert half.peek(body, WANTED).string(b"model") == "m"
        assert half.count_text(body) == len(text) + 1
        assert time.process_time() - began < 10
