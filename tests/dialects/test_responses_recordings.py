"""Every recorded Responses answer: decoded at any split, watched, encoded again, and read by the SDK."""

from __future__ import annotations

from pathlib import Path
from random import Random

import openai
import pytest

from fastanchor.core.events import (
    Begin,
    BlockEnd,
    BlockStart,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Stop,
)
from fastanchor.core.faults import Kind
from fastanchor.dialects.openai_responses import DIALECT
from tests.dialects.responses_sdk import answering, check, decoded, encoded, read_answer, read_stream

STREAMS = (
    "background-queued", "custom-tool", "deepseek-function-call", "error-then-failed", "file-search", "function-call",
    "incomplete-max-output-tokens", "local-shell", "logprobs", "openrouter-raw-cot", "reasoning-phase-tools",
    "reasoning-summary-encrypted", "text-after-tool", "text-final-turn",
)  # fmt: skip
COMPLETED = tuple(name for name in STREAMS if name not in ("error-then-failed", "incomplete-max-output-tokens"))


@pytest.fixture(scope="session")
def folder(recordings: Path) -> Path:
    return recordings / "openai-responses"


def pieces(body: bytes, seed: int) -> list[bytes]:
    random = Random(seed)
    cuts = sorted(random.sample(range(1, len(body)), min(40, len(body) - 1)))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def test_no_recording_is_forgotten(folder: Path) -> None:
    assert {path.stem for path in folder.glob("*.sse")} == set(STREAMS)


@pytest.mark.parametrize("name", STREAMS)
def test_splits_do_not_change_the_events(folder: Path, name: str) -> None:
    body = (folder / f"{name}.sse").read_bytes()
    whole = decoded(body)
    for seed in range(5):
        decoder = DIALECT.decoder()
        events = [event for piece in pieces(body, seed) for event in decoder.feed(piece)] + decoder.end()
        assert repr(events) == repr(whole)  # two faults are never equal


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_line_ends_do_not_change_the_events(folder: Path, name: str, end: bytes) -> None:
    body = (folder / f"{name}.sse").read_bytes()
    other = b"\xef\xbb\xbf" + body.replace(b"\r\n", b"\n").replace(b"\n", end)
    assert repr(decoded(other)) == repr(decoded(body))


@pytest.mark.parametrize("name", STREAMS)
def test_the_events_follow_the_grammar(folder: Path, name: str) -> None:
    events = decoded((folder / f"{name}.sse").read_bytes())
    assert isinstance(events[0], Begin)
    assert isinstance(events[-1], End | Failed)
    opened: list[int] = []
    closed: set[int] = set()
    for event in events:
        if isinstance(event, BlockStart):
            assert event.block == len(opened)
            opened.append(event.block)
        elif isinstance(event, BlockEnd):
            assert event.block in opened
            closed.add(event.block)
        elif not isinstance(event, Begin | Counted | Finish | End | Failed):
            assert event.block in opened
            assert event.block not in closed
    assert isinstance(events[-1], Failed) or closed == set(opened)


@pytest.mark.parametrize("name", COMPLETED)
def test_what_is_encoded_again_reads_the_same_in_the_sdk(folder: Path, name: str) -> None:
    body = (folder / f"{name}.sse").read_bytes()
    ours, theirs = read_stream(encoded(decoded(body))), read_stream(body)
    assert ours.output_text == theirs.output_text
    assert calls(ours) == calls(theirs)
    assert ours.usage is not None
    assert theirs.usage is not None
    assert ours.usage.input_tokens == theirs.usage.input_tokens
    assert ours.usage.output_tokens == theirs.usage.output_tokens
    assert ours.usage.input_tokens_details.cached_tokens == theirs.usage.input_tokens_details.cached_tokens
    assert ours.usage.output_tokens_details == theirs.usage.output_tokens_details
    said = [item.type for item in theirs.output if item.type != "reasoning" or item.summary or item.content
            or item.encrypted_content]  # fmt: skip
    assert [item.type for item in ours.output] == said


def calls(response: openai.types.responses.Response) -> list[tuple[str, str, str]]:
    out = []
    for item in response.output:
        if item.type == "function_call":
            out.append((item.call_id, item.name, item.arguments))
        elif item.type == "custom_tool_call":
            out.append((item.call_id, item.name, item.input))
    return out


@pytest.mark.parametrize("name", STREAMS)
def test_what_is_encoded_again_has_the_whole_life_of_every_item(folder: Path, name: str) -> None:
    check(encoded(decoded((folder / f"{name}.sse").read_bytes())))


@pytest.mark.parametrize("name", STREAMS)
def test_an_encoded_stream_decodes_to_its_events(folder: Path, name: str) -> None:
    """But for the answer's identity, which is the gateway's own, and failures, which are told in its words."""
    events = decoded((folder / f"{name}.sse").read_bytes())
    again = decoded(encoded(events))
    for event in events:
        if isinstance(event, Counted):
            event.usage.cost = None  # OpenRouter's own addition
    assert again[1:-1] == events[1:-1]
    assert type(again[-1]) is type(events[-1])


def test_an_incomplete_response_says_why(folder: Path) -> None:
    events = decoded((folder / "incomplete-max-output-tokens.sse").read_bytes())
    assert [event.stop for event in events if isinstance(event, Finish)] == [Stop.MAX_TOKENS]
    last = check(encoded(events))[-1]
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "incomplete")
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_an_error_inside_the_stream_is_told_as_an_error(folder: Path) -> None:
    body = (folder / "error-then-failed.sse").read_bytes()
    failed = decoded(body)[-1]
    assert isinstance(failed, Failed)
    assert failed.fault.kind is Kind.UPSTREAM_AUTH  # the gateway's account is out of money, not the client's
    told = check(encoded(decoded(body)))
    assert [frame["type"] for frame in told[-2:]] == ["error", "response.failed"]
    assert "billing" not in told[-1]["response"]["error"]["message"]
    with pytest.raises(openai.APIError):
        read_stream(encoded(decoded(body)))


def test_a_whole_answer_is_read_and_written(folder: Path) -> None:
    body = (folder / "nonstream-reasoning-tools.json").read_bytes()
    events = DIALECT.read_answer(body)
    assert isinstance(events[-1], End)
    ours, theirs = read_answer(DIALECT.write_answer(events, answering())), read_answer(body)
    assert ours.output_text == theirs.output_text
    assert calls(ours) == calls(theirs)
    assert calls(ours)
    assert [item.type for item in ours.output] == [item.type for item in theirs.output]
    assert ours.usage is not None
    assert theirs.usage is not None
    assert ours.usage.total_tokens == theirs.usage.total_tokens == DIALECT.usage_of(body).total


def test_an_error_body_is_no_answer(folder: Path) -> None:
    events = DIALECT.read_answer((folder / "error-400.json").read_bytes())
    assert [type(event) for event in events] == [Begin, Failed]


@pytest.mark.parametrize("name", COMPLETED)
def test_a_whole_answer_and_its_stream_are_the_same_events(folder: Path, name: str) -> None:
    """Text and arguments come in one piece; what was said in them does not change."""
    body = (folder / f"{name}.sse").read_bytes()
    final = check(encoded(decoded(body)))[-1]["response"]
    again = DIALECT.read_answer(openai.types.responses.Response.model_validate(final).model_dump_json().encode())
    assert shape(again) == shape(decoded(body))


def shape(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.kind.value, event.tool_name) for event in events if isinstance(event, BlockStart)]


# pass-through


@pytest.mark.parametrize("name", STREAMS)
def test_the_observer_forwards_every_byte_of_a_good_stream(folder: Path, name: str) -> None:
    body = (folder / f"{name}.sse").read_bytes()
    counted = [event.usage for event in decoded(body) if isinstance(event, Counted)]
    for seed in range(5):
        observer = DIALECT.observer(answering().call)
        out = b"".join(observer.feed(piece) for piece in pieces(body, seed)) + observer.end()
        if name == "error-then-failed":
            assert out == body[: body.index(b"event: error")]
            assert observer.fault is not None
            assert not observer.complete
            continue
        assert out == body.removesuffix(b"data: [DONE]\n\n")
        assert observer.fault is None
        assert observer.complete
        assert [observer.usage] == counted


@pytest.mark.parametrize("name", STREAMS)
def test_the_observer_knows_the_id_that_the_chain_goes_on_from(folder: Path, name: str) -> None:
    body = (folder / f"{name}.sse").read_bytes()
    observer = DIALECT.observer(answering().call)
    observer.feed(body[: len(body) // 2])
    begin = decoded(body)[0]
    assert isinstance(begin, Begin)
    assert observer.response_id == begin.id
    assert observer.response_id


@pytest.mark.parametrize("name", COMPLETED)
def test_the_observer_commits_at_the_first_delta(folder: Path, name: str) -> None:
    body = (folder / f"{name}.sse").read_bytes()
    observer = DIALECT.observer(answering().call)
    seen = b""
    for at in range(0, len(body), 64):
        seen += observer.feed(body[at : at + 64])
        assert observer.started is (b".delta" in seen or b"response.completed" in seen)


@pytest.mark.parametrize("name", COMPLETED)
def test_the_observer_and_the_decoder_agree_on_the_stop(folder: Path, name: str) -> None:
    body = (folder / f"{name}.sse").read_bytes()
    observer = DIALECT.observer(answering().call)
    observer.feed(body)
    assert [observer.stop] == [event.stop for event in decoded(body) if isinstance(event, Finish)]


def test_a_cut_at_any_byte_is_never_a_success(folder: Path) -> None:
    body = (folder / "text-after-tool.sse").read_bytes().rstrip(b"\n")
    for at in range(0, len(body), 7):
        decoder, observer = DIALECT.decoder(), DIALECT.observer(answering().call)
        last = (decoder.feed(body[:at]) + decoder.end())[-1]
        assert isinstance(last, Failed)
        assert last.fault.kind is Kind.TRUNCATED
        observer.feed(body[:at])
        observer.end()
        assert not observer.complete
        assert observer.fault is not None
        assert observer.fault.kind is Kind.TRUNCATED


def test_a_last_event_without_its_blank_line_counts_when_it_is_whole(folder: Path) -> None:
    body = (folder / "text-after-tool.sse").read_bytes()
    bare = body.rstrip(b"\n")
    assert decoded(bare) == decoded(body)
    observer = DIALECT.observer(answering().call)
    out = observer.feed(bare) + observer.end()
    assert observer.complete
    assert out == bare + b"\n\n"
