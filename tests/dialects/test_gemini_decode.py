"""Gemini streams on their way in: odd framing, odd documents, streamed arguments, bounds."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.call import Call
from fastanchor.core.events import (
    Arguments,
    Begin,
    Block,
    BlockStart,
    Citation,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Raw,
    Signature,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.faults import Kind
from fastanchor.dialects.gemini import DIALECT
from fastanchor.dialects.gemini.answers import PartialArg
from fastanchor.dialects.gemini.frames import MAX_DOCUMENT, Elements
from fastanchor.dialects.gemini.partial import Misplaced, PartialArguments, steps
from tests.dialects.test_gemini_recordings import check_grammar, usage_of

CALL = Call("gemini", "m", b"{}", stream=True)


def document(*parts: Any, finish: str | None = None, index: int | None = None, **members: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}}
    if finish:
        candidate["finishReason"] = finish
    if index is not None:
        candidate["index"] = index
    return {"candidates": [candidate], **members}


def sse(*documents: Any) -> bytes:
    return b"".join(b"data: " + orjson.dumps(one) + b"\r\n\r\n" for one in documents)


def decoded(body: bytes) -> list[Event]:
    decoder = DIALECT.decoder()
    events = decoder.feed(body) + decoder.end()
    check_grammar(events)
    assert decoder.feed(b"more") == []
    return events


def observed(body: bytes) -> Any:
    observer = DIALECT.observer(CALL)
    observer.feed(body)
    observer.end()
    return observer


def only(events: list[Event], kind: type[Any]) -> Any:
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


def failure(body: bytes) -> Kind:
    """The kind that the decoder and the observer both tell."""
    last = decoded(body)[-1]
    assert isinstance(last, Failed)
    fault = observed(body).fault
    assert fault is not None
    assert fault.kind is last.fault.kind
    return last.fault.kind


TWO = (document({"text": "a é "}), document({"text": "b"}, finish="STOP", usageMetadata={"promptTokenCount": 3}))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(sse(*TWO), id="crlf"),
        pytest.param(sse(*TWO).replace(b"\r\n", b"\n"), id="lf"),
        pytest.param(sse(*TWO).replace(b"\r\n", b"\r"), id="cr"),
        pytest.param(b"\xef\xbb\xbf" + sse(*TWO), id="byte order mark"),
        pytest.param(b"\r\n\r\n" + sse(*TWO), id="blank lines first"),
        pytest.param(sse(*TWO).replace(b"data: ", b"data:"), id="no space"),
        pytest.param(b": comment\r\n\r\n" + sse(*TWO) + b": bye\r\n\r\n", id="comments"),
        pytest.param(sse(TWO[0]) + b"event: ping\r\nid: 7\r\nretry: 3\r\n\r\n" + sse(TWO[1]), id="other fields"),
        pytest.param(sse(*TWO).replace(b',"', b',\r\ndata: "'), id="several data lines"),
        pytest.param(sse(*TWO)[:-4], id="no last blank line"),
        pytest.param(orjson.dumps(list(TWO)), id="array"),
        pytest.param(b"  \r\n" + orjson.dumps(list(TWO), option=orjson.OPT_INDENT_2) + b"\r\n", id="array, indented"),
        pytest.param(orjson.dumps(list(TWO))[:-1], id="array, not closed"),
    ],
)
def test_bug_36_a_stream_reads_the_same_in_every_framing(body: bytes) -> None:
    for size in (1, 2, 3, len(body)):
        decoder = DIALECT.decoder()
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.end()
        assert "".join(event.text for event in events if isinstance(event, Text)) == "a é b"
        assert isinstance(events[-1], End)
        observer = DIALECT.observer(CALL)
        out = b"".join(map(observer.feed, pieces)) + observer.end()
        assert observer.complete
        assert observer.fault is None
        assert out == body
        assert observer.usage.input == 3


def test_bug_35_a_character_cut_in_two_arrives_whole() -> None:
    body = sse(document({"text": "日本語🎉"}, finish="STOP"))
    for cut in range(1, len(body)):
        decoder = DIALECT.decoder()
        events = decoder.feed(body[:cut]) + decoder.feed(body[cut:]) + decoder.end()
        assert only(events, Text).text == "日本語🎉"


def test_bug_37_a_long_line_is_read_and_one_over_the_cap_is_a_fault() -> None:
    long = sse(document({"text": "x" * 5_000_000}, finish="STOP"))
    assert len(only(decoded(long), Text).text) == 5_000_000
    assert failure(sse(document({"text": "x" * (MAX_DOCUMENT + 1)}))) is Kind.MALFORMED_ANSWER
    assert failure(b"[" + orjson.dumps(document({"text": "x" * (MAX_DOCUMENT + 1)}))) is Kind.MALFORMED_ANSWER


def test_bug_08_a_stop_in_a_later_document_is_promoted_to_tool_calls() -> None:
    call, stop = document({"functionCall": {"name": "f", "args": {}}}), document({"text": ""}, finish="STOP")
    assert only(decoded(sse(call, stop)), Finish).stop is Stop.TOOL_CALLS
    assert observed(sse(call, stop)).stop is Stop.TOOL_CALLS


@pytest.mark.parametrize("reason", ["MAX_TOKENS", "SAFETY", "OTHER", "TOO_MANY_TOOL_CALLS"])
def test_bug_09_another_end_is_not_promoted(reason: str) -> None:
    body = sse(document({"functionCall": {"name": "f", "args": {}}}, finish=reason))
    assert only(decoded(body), Finish).stop is not Stop.TOOL_CALLS
    assert observed(body).stop is not Stop.TOOL_CALLS


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("STOP", Stop.END),
        ("MAX_TOKENS", Stop.MAX_TOKENS),
        *((r, Stop.CONTENT_FILTER) for r in ("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII", "BLOCKLIST")),
        ("MODEL_ARMOR", Stop.CONTENT_FILTER),
        ("CONTINUATION", Stop.PAUSE),
        *((r, Stop.UNKNOWN) for r in ("OTHER", "LANGUAGE", "MALFORMED_FUNCTION_CALL", "NEW_IN_2027")),
    ],
)
def test_bug_10_every_reason_ends_its_candidate(reason: str, stop: Stop) -> None:
    finish = only(decoded(sse(document({"text": "x"}, finish=reason))), Finish)
    assert (finish.stop, finish.native) == (stop, reason)


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"])
def test_an_unreadable_call_and_nothing_else_is_no_answer(reason: str) -> None:
    last = decoded(sse({"candidates": [{"finishReason": reason}]}))[-1]
    assert isinstance(last, Failed)
    assert last.fault.kind is Kind.EMPTY_ANSWER
    assert reason in last.fault.message


def test_bug_01_parallel_calls_are_blocks_of_their_own_with_ids_of_their_own() -> None:
    calls = [{"functionCall": {"name": "f", "args": {"n": n}}} for n in range(3)]
    events = decoded(sse(document(*calls, finish="STOP", responseId="r/1")))
    starts = [event for event in events if isinstance(event, BlockStart)]
    assert [start.block for start in starts] == [0, 1, 2]
    assert [start.tool_id for start in starts] == ["call_r1_0", "call_r1_1", "call_r1_2"]
    assert [event.data for event in events if isinstance(event, Arguments)] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


def test_minted_ids_are_short_and_plain_enough_for_every_provider() -> None:
    call = {"functionCall": {"name": "f"}}
    events = decoded(sse(document(*[call] * 512, finish="STOP", responseId="é/" + "x" * 100)))
    ids = [event.tool_id for event in events if isinstance(event, BlockStart)]
    assert len(set(ids)) == 512
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", tool_id) for tool_id in ids)


def test_bug_11_the_token_limit_is_told_as_such() -> None:
    assert only(decoded(sse(document({"text": "x"}, finish="MAX_TOKENS"))), Finish).stop is Stop.MAX_TOKENS


def test_bug_12_arguments_are_the_same_streamed_and_whole() -> None:
    one = document({"functionCall": {"name": "f", "args": {"a": 1}}}, finish="STOP")
    for body in (sse(one), orjson.dumps([one]), orjson.dumps(one)):
        assert [event.data for event in decoded(body) if isinstance(event, Arguments)] == [b'{"a":1}']


def test_bug_13_arguments_that_ride_with_the_name_are_kept() -> None:
    first = partial({"jsonPath": "$.a", "stringValue": "x"}, name="f")
    events = decoded(sse(first, partial({"jsonPath": "$.b", "stringValue": "y"}), document(finish="STOP")))
    assert only(events, Arguments).data == b'{"a":"x","b":"y"}'


def test_a_calls_own_id_is_kept() -> None:
    events = decoded(sse(document({"functionCall": {"id": "own", "name": "f"}}, finish="STOP")))
    assert only(events, BlockStart).tool_id == "own"


def test_bug_41_arguments_keep_their_bytes() -> None:
    args = b'{"n": 12345678901234567890123, "b" : 1.50, "a":[ ]}'
    body = (
        b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":%s}}]},"finishReason":"STOP"}]}'
    )
    assert only(decoded(body % args), Arguments).data == args


def test_bug_02_candidates_keep_their_index_and_finish_each() -> None:
    body = sse(
        document({"text": "a"}, index=0), document({"text": "b"}, index=1),
        document({"text": "A"}, finish="STOP", index=0), document({"text": "B"}, finish="MAX_TOKENS", index=1),
    )  # fmt: skip
    events = decoded(body)
    starts = [event for event in events if isinstance(event, BlockStart)]
    assert [start.choice for start in starts] == [0, 1]
    texts = ["".join(e.text for e in events if isinstance(e, Text) and e.block == start.block) for start in starts]
    assert texts == ["aA", "bB"]
    finishes = [(e.choice, e.stop) for e in events if isinstance(e, Finish)]
    assert finishes == [(0, Stop.END), (1, Stop.MAX_TOKENS)]
    assert failure(body[: body.index(b"MAX_TOKENS")]) is Kind.TRUNCATED


def test_a_change_of_kind_closes_the_block_before() -> None:
    parts = [{"text": "t1", "thought": True}, {"text": "x"}, {"text": "y"}, {"text": "t2", "thought": True}]
    starts = [event.kind for event in decoded(sse(document(*parts, finish="STOP"))) if isinstance(event, BlockStart)]
    assert starts == [Block.THOUGHT, Block.TEXT, Block.THOUGHT]


def test_bug_22_signatures_are_read_from_every_kind_of_part() -> None:
    events = decoded(sse(document(
        {"text": "t", "thought": True, "thoughtSignature": "c2lnMQ=="},
        {"text": "x", "thoughtSignature": "c2lnMg=="},
        {"functionCall": {"name": "f"}, "thoughtSignature": "c2lnMw=="},
        {"text": "", "thoughtSignature": "c2lnNA=="},
        finish="STOP",
    )))  # fmt: skip
    assert [(e.block, e.data) for e in events if isinstance(e, Signature)] == [
        (0, "c2lnMQ=="), (1, "c2lnMg=="), (2, "c2lnMw=="),
    ]  # fmt: skip
    assert only(events, Raw).data == b'{"thoughtSignature":"c2lnNA=="}'


def test_bug_04_documents_without_candidates_or_parts_are_no_harm() -> None:
    events = decoded(sse(
        {"usageMetadata": {"promptTokenCount": 1}}, {"candidates": []}, {"candidates": None}, {},
        {"candidates": [{}]}, {"candidates": [{"content": None}]}, {"candidates": [{"content": {"parts": None}}]},
        {"candidates": [{"content": {"parts": [{}]}}]}, document({"text": "x"}, finish="STOP"),
    ))  # fmt: skip
    assert only(events, Text).text == "x"


def test_unknown_members_and_numbers_as_strings_are_read() -> None:
    usage = {"promptTokenCount": "7", "candidatesTokenCount": "2", "futureTokenCount": {}}
    events = decoded(sse(document({"text": "x", "new": 1}, finish="STOP", usageMetadata=usage, novel=[1])))
    assert (usage_of(events).input, usage_of(events).output) == (7, 2)


def test_bug_24_usage_is_cumulative_and_its_parts_are_added_once() -> None:
    first = {"promptTokenCount": 100, "thoughtsTokenCount": 10, "cachedContentTokenCount": 40}
    last = {
        "promptTokenCount": 100, "candidatesTokenCount": 5, "thoughtsTokenCount": 20, "cachedContentTokenCount": 40,
        "toolUsePromptTokenCount": 30, "totalTokenCount": 155,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 80}, {"modality": "AUDIO", "tokenCount": 20}],
    }  # fmt: skip
    body = sse(document({"text": "x"}, usageMetadata=first), document(finish="STOP", usageMetadata=last))
    for usage in (usage_of(decoded(body)), observed(body).usage):
        assert (usage.input, usage.output, usage.total) == (130, 25, 155)
        assert (usage.cache_read, usage.reasoning, usage.audio_input) == (40, 20, 20)


def test_a_counter_that_a_later_document_leaves_out_keeps_its_value() -> None:
    body = sse(
        document({"text": "x"}, usageMetadata={"promptTokenCount": 5, "candidatesTokenCount": 3}),
        document(finish="STOP", usageMetadata={"promptTokenCount": 5}),
    )
    assert usage_of(decoded(body)).output == 3


def test_citations_go_with_the_open_text_and_searches_are_counted() -> None:
    grounding = {"webSearchQueries": ["a", "b"], "groundingChunks": []}
    one = document({"text": "x"}, finish="STOP", usageMetadata={"promptTokenCount": 1})
    one["candidates"][0]["groundingMetadata"] = grounding
    events = decoded(sse(one))
    assert orjson.loads(only(events, Citation).data) == {"groundingMetadata": grounding}
    assert usage_of(events).searches == 2


def test_a_blocked_prompt_is_an_answer_without_content() -> None:
    body = sse({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 4}})
    events = decoded(body)
    assert only(events, Finish).stop is Stop.CONTENT_FILTER
    assert only(events, Finish).native == "PROHIBITED_CONTENT"
    seen = observed(body)
    assert (seen.complete, seen.fault, seen.stop) == (True, None, Stop.CONTENT_FILTER)


ERROR = {"error": {"code": 503, "message": "secret host 10.0.0.1", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    "body",
    [
        sse(TWO[0], ERROR),
        sse(TWO[0], [ERROR]),
        sse(TWO[0]) + orjson.dumps(ERROR, option=orjson.OPT_INDENT_2),
        sse(TWO[0]) + orjson.dumps(ERROR, option=orjson.OPT_INDENT_2) + b"\r\n\r\n",
        sse(TWO[0])[:-4] + b"\r\n" + orjson.dumps(ERROR, option=orjson.OPT_INDENT_2),
        orjson.dumps([TWO[0], ERROR]),
        orjson.dumps([TWO[0], ERROR], option=orjson.OPT_INDENT_2),
        orjson.dumps(ERROR),
        orjson.dumps([ERROR]),
    ],
)
def test_bug_32_an_error_in_any_form_fails_the_answer_without_its_text(body: bytes) -> None:
    last = decoded(body)[-1]
    assert isinstance(last, Failed)
    assert last.fault.kind is Kind.UPSTREAM_OVERLOADED
    assert "secret" not in last.fault.message
    observer = DIALECT.observer(CALL)
    out = observer.feed(body) + observer.end()
    assert observer.fault is not None
    assert observer.fault.kind is Kind.UPSTREAM_OVERLOADED
    assert b"secret" not in out


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (400, "INVALID_ARGUMENT", Kind.PROVIDER_REJECTED),
        (401, "UNAUTHENTICATED", Kind.UPSTREAM_AUTH),
        (403, "PERMISSION_DENIED", Kind.UPSTREAM_AUTH),
        (404, "NOT_FOUND", Kind.UPSTREAM_NOT_FOUND),
        (429, "RESOURCE_EXHAUSTED", Kind.UPSTREAM_RATE_LIMITED),
        (499, "CANCELLED", Kind.IN_BAND_ERROR),
        (500, "INTERNAL", Kind.IN_BAND_ERROR),
        (503, "UNAVAILABLE", Kind.UPSTREAM_OVERLOADED),
    ],
)
def test_an_errors_code_decides_its_kind(code: int, status: str, kind: Kind) -> None:
    assert failure(sse({"error": {"code": code, "message": "m", "status": status}})) is kind


def test_text_that_speaks_of_errors_is_no_error() -> None:
    text = 'the "error": {"code": 500} and "finishReason": "STOP"'
    assert only(decoded(sse(document({"text": text}, finish="STOP"))), Text).text == text
    assert failure(sse(document({"text": text}))) is Kind.TRUNCATED


@pytest.mark.parametrize("body", [b"", b"\r\n", b": x\r\n\r\n", b"[]", b"[\r\n"])
def test_nothing_is_an_empty_answer(body: bytes) -> None:
    assert failure(body) is Kind.EMPTY_ANSWER


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {bad\r\n\r\n",
        b"data: 5\r\n\r\n",
        b'data: {"candidates":5}\r\n\r\n',
        b'data: {"candidates":[{"content":{"parts":[{"text":5}]}}]}\r\n\r\n',
        b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"args":{"a":1}}}]}}]}\r\n\r\n',
        b'data: {"candidates":[{"index":128}]}\r\n\r\n',
        b'data: {"candidates":[{"index":-1}]}\r\n\r\n',
        b'data: {"candidates":[{"content":{"parts":[{"text":"\\ud800"}]}}]}\r\n\r\n',
        b'data: {"candidates":[{"content":{"parts":[{"text":"\xff"}]}}]}\r\n\r\n',
        b'data: {"candidates":' + b"[" * 3000 + b"]" * 3000 + b"}\r\n\r\n",
    ],
)
def test_a_document_that_cannot_be_read_fails_the_answer(bad: bytes) -> None:
    last = decoded(sse(TWO[0]) + bad + sse(TWO[1]))[-1]
    assert isinstance(last, Failed)
    assert last.fault.kind is Kind.MALFORMED_ANSWER


def test_blocks_and_calls_are_bounded() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}
    flip = [{"text": "a"}, {"text": "b", "thought": True}]
    for parts in ([call] * 513, flip * 2049):
        last = decoded(sse(document(*parts, finish="STOP")))[-1]
        assert isinstance(last, Failed)
        assert last.fault.kind is Kind.MALFORMED_ANSWER
    assert isinstance(decoded(sse(document(*[call] * 512, finish="STOP")))[-1], End)


def test_the_observer_knows_the_commit_point() -> None:
    observer = DIALECT.observer(CALL)
    for quiet in ({"usageMetadata": {"promptTokenCount": 1}}, document({"text": ""}), document()):
        observer.feed(sse(quiet))
        assert not observer.started
    observer.feed(sse(document({"functionCall": {"name": "f"}})))
    assert observer.started


def test_the_observer_estimates_what_is_never_counted() -> None:
    for body in (sse(document({"text": "x" * 400})), b"[" + orjson.dumps(document({"text": "x" * 400}))):
        observer = DIALECT.observer(CALL)
        observer.feed(body)
        assert observer.output_estimate == 100
        assert observer.usage.output is None


# streamed arguments


def partial(*pieces: dict[str, Any], name: str = "") -> dict[str, Any]:
    call: dict[str, Any] = {"partialArgs": list(pieces), "willContinue": True}
    return document({"functionCall": {**call, "name": name} if name else call})


def arguments(*documents: dict[str, Any]) -> Any:
    start = document({"functionCall": {"name": "f", "willContinue": True}})
    events = decoded(sse(start, *documents, document(finish="STOP")))
    assert only(events, Finish).stop is Stop.TOOL_CALLS
    return only(events, Arguments).data


def test_streamed_arguments_are_put_together_by_path() -> None:
    data = arguments(
        partial({"jsonPath": "$.s", "stringValue": "a", "willContinue": True}),
        partial({"jsonPath": "$.s", "stringValue": "b", "willContinue": True}, {"jsonPath": "$.s", "stringValue": "c"}),
        partial({"jsonPath": "$.n", "numberValue": 0.5}, {"jsonPath": "$.t", "boolValue": False}),
        partial({"jsonPath": "$.z", "nullValue": "NULL_VALUE"}),
        partial({"jsonPath": "$.l[1].x", "stringValue": "second"}, {"jsonPath": "$.l[0]", "stringValue": "first"}),
        partial({"jsonPath": "$['a b'][\"c.d\"]", "stringValue": "quoted"}),
        document({"functionCall": {}}),
    )
    assert orjson.loads(data) == {
        "s": "abc", "n": 0.5, "t": False, "z": None, "l": ["first", {"x": "second"}], "a b": {"c.d": "quoted"},
    }  # fmt: skip


def test_streamed_numbers_keep_their_digits() -> None:
    body = sse(document({"functionCall": {"name": "f", "partialArgs": [
        {"jsonPath": "$.n", "numberValue": 77},
    ]}}, finish="STOP")).replace(b"77", b"12345678901234567890123")  # fmt: skip
    assert only(decoded(body), Arguments).data == b'{"n":12345678901234567890123}'


@pytest.mark.parametrize(
    "following", [{"text": "x"}, {"functionCall": {"name": "g", "args": {}}}, {"executableCode": {}}]
)
def test_a_streamed_call_that_is_not_closed_is_closed_by_what_follows(following: dict[str, Any]) -> None:
    start = document({"functionCall": {"name": "f", "willContinue": True}})
    events = decoded(sse(start, partial({"jsonPath": "$.a", "numberValue": 1}), document(following, finish="STOP")))
    assert next(event.data for event in events if isinstance(event, Arguments)) == b'{"a":1}'


@pytest.mark.parametrize(
    "pieces",
    [
        ({"jsonPath": "a", "stringValue": "x"},),
        ({"jsonPath": "$", "stringValue": "x"},),
        ({"jsonPath": "$[0]", "stringValue": "x"},),
        ({"jsonPath": "$.a[", "stringValue": "x"},),
        ({"jsonPath": "$..a", "stringValue": "x"},),
        ({"stringValue": "x"},),
        ({"jsonPath": "$.a[999999]", "stringValue": "x"},),
        ({"jsonPath": "$" + ".a" * 65, "stringValue": "x"},),
        ({"jsonPath": "$.a", "stringValue": "x"}, {"jsonPath": "$.a.b", "stringValue": "x"}),
        ({"jsonPath": "$.a.b", "stringValue": "x"}, {"jsonPath": "$.a[0]", "stringValue": "x"}),
        ({"jsonPath": "$.a.b", "stringValue": "x"}, {"jsonPath": "$.a", "stringValue": "x"}),
    ],
)
def test_a_piece_without_a_place_fails_the_answer(pieces: tuple[dict[str, Any], ...]) -> None:
    last = decoded(sse(partial(*pieces, name="f"), document(finish="STOP")))[-1]
    assert isinstance(last, Failed)
    assert last.fault.kind is Kind.MALFORMED_ANSWER


LEAVES = st.text(max_size=5) | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.text("abc .[]'\"\\$", min_size=1, max_size=4)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> Any:
    if depth and draw(st.booleans()):
        inner = trees(depth - 1)
        if draw(st.booleans()):
            return draw(st.lists(inner, min_size=1, max_size=3))
        return draw(st.dictionaries(KEYS, inner, min_size=1, max_size=3))
    return draw(LEAVES)


def pieces_of(path: str, value: Any) -> list[dict[str, Any]]:
    """The pieces that Vertex would stream for a value."""
    if isinstance(value, dict):
        quoted = ((key.replace("\\", "\\\\").replace("'", "\\'"), one) for key, one in value.items())
        return [piece for key, one in quoted for piece in pieces_of(f"{path}['{key}']", one)]
    if isinstance(value, list):
        return [piece for at, one in enumerate(value) for piece in pieces_of(f"{path}[{at}]", one)]
    if isinstance(value, str):
        first = {"jsonPath": path, "stringValue": value[:2], "willContinue": True}
        return [first, {"jsonPath": path, "stringValue": value[2:]}]
    if value is None:
        return [{"jsonPath": path, "nullValue": "NULL_VALUE"}]
    return [{"jsonPath": path, "boolValue" if isinstance(value, bool) else "numberValue": value}]


@given(st.dictionaries(KEYS, trees(), max_size=3))
def test_any_arguments_survive_being_streamed(value: dict[str, Any]) -> None:
    assert orjson.loads(arguments(*(partial(piece) for piece in pieces_of("$", value)))) == value


def test_paths_are_read() -> None:
    assert steps("$.a[0].b['c d'][\"e\"][12]") == ["a", 0, "b", "c d", "e", 12]
    with pytest.raises(Misplaced):
        steps("$.a[-1]")


def test_items_are_bounded_over_a_whole_call() -> None:
    held = PartialArguments()
    for member in range(16):
        held.add(PartialArg(json_path=f"$.a{member}[1023]", bool_value=True))
    with pytest.raises(Misplaced):
        held.add(PartialArg(json_path="$.b[0]", bool_value=True))


# what an upstream may send


@given(st.binary(max_size=300))
def test_no_bytes_raise(data: bytes) -> None:
    for body in (data, b"data: " + data + b"\r\n\r\n", b"[" + data):
        events = DIALECT.read_answer(body)
        assert isinstance(events[-1], End | Failed)
        observed(body)
        DIALECT.usage_of(body)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([
            "candidates", "content", "parts", "text", "thought", "functionCall", "name", "args", "partialArgs",
            "jsonPath", "stringValue", "willContinue", "finishReason", "index", "usageMetadata", "promptTokenCount",
            "promptFeedback", "blockReason", "error", "code", "logprobsResult", "chosenCandidates", "thoughtSignature",
        ]),
        inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.lists(JSON, max_size=4), st.booleans())
def test_no_documents_raise_and_the_observer_never_calls_good_what_the_decoder_calls_bad(
    documents: list[Any], array: bool
) -> None:
    body = orjson.dumps(documents, option=0) if array else sse(*documents)
    events = decoded(body)
    seen = observed(body)
    if isinstance(events[-1], Failed) and events[-1].fault.kind in (Kind.TRUNCATED, Kind.IN_BAND_ERROR):
        assert seen.fault is not None


@pytest.mark.parametrize("name", ["text-crlf.sse", "vertex-partial-args.sse", "json-array-stream-tools.json"])
def test_damaged_recordings_never_raise(recordings: Path, name: str) -> None:
    body = bytearray((recordings / "gemini" / name).read_bytes())
    rng = random.Random(name)
    for _ in range(150):
        damaged = bytearray(body)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(damaged))
            damaged[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        check_grammar(DIALECT.read_answer(bytes(damaged)))
        observed(bytes(damaged))


@given(st.lists(st.recursive(
    st.text('{}[]",\\ab\n', max_size=6), lambda inner: st.lists(inner, max_size=3), max_leaves=5
).map(lambda value: {"k": value}), max_size=4), st.integers(1, 9))  # fmt: skip
def test_elements_are_cut_at_their_ends(values: list[Any], size: int) -> None:
    body = orjson.dumps(values, option=orjson.OPT_INDENT_2)
    elements, found = Elements(), []
    for at in range(0, len(body), size):
        whole, spans = elements.feed(body[at : at + size])
        found += [orjson.loads(whole[start:end]) for start, end in spans]
    assert found == values
    assert elements.tail().strip() in (b"]", b"[]")


def test_begin_and_thoughts_are_told() -> None:
    one = document({"text": "t", "thought": True}, finish="STOP", responseId="r", modelVersion="m")
    one["createTime"] = "2026-04-02T17:03:50.399550Z"
    events = decoded(sse(one))
    assert events[0] == Begin("r", "m", 1775149430)
    assert only(events, Thought).summary
    assert not any(isinstance(event, Counted) for event in events)
