"""Whatever `peek` accepts, orjson accepts and reads the same; both halves always agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.speedups.halves import both, halves

WANTED = (b"model", b"stream", b"n", "é".encode())

SEEDS = (
    b'{"model":"gpt-4o","stream":true,"n":-12.5e+3,"x":[null,{"a":"\\u00e9\\ud83d\\ude00"}],"model_":{"n":1}}',
    ' {"é" : "漢字\U0001f600", "n":0 , "e":{ },"f":[ ] } '.encode(),
)
TOKENS = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\x0b", b"\0", b"\x1f", b"\x7f", b"\x80", b"\xa0",
    b"\xe9", b"\xff", b"\xed\xa0\x80", b"\xc2\x85", b"0", b"1", b"-", b"+", b".", b"e", b"E5", b"true", b"null", b"NaN",
    b"\\u12", b"\\ud800", b"\\udc00", b"\\u006d", b'"model":1,', b'"m\\u006fdel":1,', b"//", b"1e999", b"0" * 70,
)


@pytest.fixture(params=halves("peek"))
def half(request: pytest.FixtureRequest) -> Any:
    return request.param


def answer(half: Any, body: bytes) -> Any:
    """All that a peek says, comparable between the halves."""
    found = half.peek(body, WANTED)
    if found is None:
        return None
    members = [(found.span(name), found.member(name), found.string(name)) for name in WANTED]
    return members, found.object_end, found.empty


def holds(half: Any, body: bytes) -> None:
    """What must be true of a body that was accepted."""
    found = half.peek(body, WANTED)
    if found is None:
        return
    pairs = json.loads(body, object_pairs_hook=lambda pairs: pairs)
    expected = orjson.loads(body)
    assert body[found.object_end] == ord("}")
    assert found.empty is (not expected)
    for name in WANTED:
        raw, key = found.raw(name), name.decode()
        assert [k for k, _ in pairs].count(key) == (raw is not None)
        if raw is None:
            continue
        value = expected[key]
        assert orjson.loads(raw) == value
        assert found.string(name) == (value if isinstance(value, str) else None)
        assert found.boolean(name) is (value if isinstance(value, bool) else None)
        assert found.integer(name) is None or found.integer(name) == value
        without = orjson.loads(half.splice(body, [(*found.member(name), b"")]))
        assert without == {k: v for k, v in expected.items() if k != key}


def test_every_token_at_every_offset() -> None:
    """About 6,000 bodies, most of them odd."""
    pure, compiled = both("peek")
    for seed in SEEDS:
        for at in range(len(seed) + 1):
            for token in TOKENS:
                for body in (seed[:at] + token + seed[at:], seed[:at] + token + seed[at + len(token) :]):
                    assert answer(pure, body) == answer(compiled, body), body
                    assert pure.count_text(body) == compiled.count_text(body), body
                    holds(compiled, body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab\"\\é", max_size=3), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["model", "stream", "n", "é", "messages", "", "mode", "model "])
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=8)
INDENT = st.sampled_from([None, 0, 2])


@given(OBJECTS, INDENT)
def test_valid_objects_with_plain_keys_are_accepted(value: dict[str, Any], indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=False, indent=indent).encode()
    for half in both("peek"):
        assert half.peek(body, WANTED) is not None
        holds(half, body)


@given(OBJECTS, st.booleans(), st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(TOKENS)), max_size=3))
def test_what_is_accepted_means_the_same_to_orjson(
    value: dict[str, Any], ascii_only: bool, inserts: list[tuple[int, bytes]]
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    for at, token in inserts:
        body = body[: at % (len(body) + 1)] + token + body[at % (len(body) + 1) :]
    pure, compiled = both("peek")
    assert answer(pure, body) == answer(compiled, body)
    assert pure.count_text(body) == compiled.count_text(body)
    holds(compiled, body)


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_any_bytes_and_any_bounds_give_the_same_from_both_halves(data: bytes, start: int, end: int) -> None:
    pure, compiled = both("peek")
    body = b'{"a":"' + data + b'"}'
    assert answer(pure, body) == answer(compiled, body)
    start, end = sorted((start % (len(body) + 1), end % (len(body) + 1)))
    assert pure.count_text(body, start, end) == compiled.count_text(body, start, end)
    holds(compiled, body)


def texts(value: Any) -> int:
    if isinstance(value, str):
        return len(json.dumps(value, ensure_ascii=False).encode()) - 2
    if isinstance(value, dict):
        return sum(texts(inner) for inner in value.values())
    return sum(texts(inner) for inner in value) if isinstance(value, list) else 0


@given(OBJECTS)
def test_count_text_is_the_sum_of_the_string_values(value: dict[str, Any]) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    for half in both("peek"):
        assert half.count_text(body) == texts(value)


def test_recorded_bodies_are_accepted(half: Any, recordings: Path) -> None:
    bodies = [path.read_bytes() for path in sorted(recordings.rglob("*.json"))]
    objects = [body for body in bodies if body.lstrip()[:1] == b"{"]
    assert len(objects) > 20
    for body in objects:
        wanted = tuple(key.encode() for key in orjson.loads(body))
        found = half.peek(body, wanted)
        assert found is not None
        assert {key.decode(): orjson.loads(found.raw(key)) for key in wanted} == orjson.loads(body)
