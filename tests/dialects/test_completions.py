"""Legacy completions: pass-through, translation to and from chat, and the client's own view of the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.call import Call
from fastanchor.core.events import (
    Begin,
    Block,
    BlockEnd,
    BlockStart,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Stop,
    Text,
)
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import Format, MediaPart, Prompt, TextPart, Tool, Turn
from fastanchor.core.usage import Usage
from fastanchor.dialects import registry, relay
from fastanchor.dialects.contract import Answering, Target
from fastanchor.dialects.openai_completions import OpenAICompletions
from tests.dialects.chat_kit import (
    answering,
    check_grammar,
    chunk,
    client,
    decoded,
    finishes,
    frames,
    observed,
    payloads,
    pieces,
    said,
    texts,
)

DIALECT = OpenAICompletions()
CHAT = registry.dialect("openai_chat")


def read(**fields: Any) -> Call:
    return DIALECT.read(orjson.dumps({"model": "m", "prompt": "once", **fields}), "/v1/completions", "", {})


@pytest.mark.parametrize(
    ("prompt", "choices", "tokens"),
    [("once upon a time", 2, 4), (["once", "upon"], 4, 2), ([1, 2, 3], 2, 3), ([[1, 2], [3]], 4, 3), (["x"], 2, 1)],
)
def test_prompts_of_every_kind_are_counted(prompt: Any, choices: int, tokens: int) -> None:
    call = read(prompt=prompt, n=2, max_tokens=5, stream=True)
    assert (call.choices, call.prompt_tokens, call.max_output, call.stream) == (choices, tokens, 5, True)
    assert orjson.loads(DIALECT.edit(call, "up"))["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"), ({"prompt": {}}, "prompt"), ({"model": ""}, "model"), ({"n": 0}, "n"),
        ({"stream": 1}, "stream"), ({"best_of": 1, "n": 2}, "best_of"), ({"best_of": 2, "stream": True}, "best_of"),
        ({"echo": "yes"}, "echo"),
    ],
)  # fmt: skip
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Fault) as caught:
        read(**fields)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"), ({"prompt": [1, 2]}, "prompt"), ({"prompt": [[1]]}, "prompt"),
        ({"suffix": "x"}, "suffix"), ({"logprobs": 6}, "logprobs"), ({"temperature": 3}, "temperature"),
    ],
)  # fmt: skip
def test_what_only_this_format_can_say_is_refused_elsewhere(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.parse(read(**fields))
    assert caught.value.param == param


@pytest.mark.parametrize("prompt", ["once", ["once"]])
def test_one_prompt_is_one_user_turn(prompt: Any) -> None:
    made = relay.request(DIALECT, CHAT, read(prompt=prompt, stop="x", logprobs=2, best_of=3, seed=1), Target("up"))
    assert orjson.loads(made.body) == {
        "model": "up", "messages": [{"role": "user", "content": "once"}], "stop": ["x"], "logprobs": True,
        "top_logprobs": 2, "seed": 1,
    }  # fmt: skip
    assert made.dropped == ("best_of",)


CHAT_STREAM = frames(chunk({"content": "a "}), chunk({"content": "time"}), chunk(reason="length"))


def test_a_chat_answer_is_streamed_as_text() -> None:
    told = answering()
    carrier = relay.translate(CHAT, DIALECT, told.call, told)
    out = observed(carrier, pieces(CHAT_STREAM, 5))
    stream = client(out, stream=True).completions.create(model="m", prompt="once", stream=True)
    seen = list(stream)
    assert "".join(c.choices[0].text for c in seen if c.choices) == "a time"
    assert seen[-2].choices[0].finish_reason == "length"
    assert seen[-1].usage is not None
    assert {c.id for c in seen} == {"cmpl-0123"}
    assert {c.object for c in seen} == {"text_completion"}
    assert out.endswith(b"data: [DONE]\n\n")


def test_a_chat_answer_is_one_text_object() -> None:
    events = decoded(CHAT.decoder(), [CHAT_STREAM])
    body = DIALECT.write_answer(events, answering())
    answer = client(body, stream=False).completions.create(model="m", prompt="once")
    assert answer.choices[0].text == "a time"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 7


def test_an_echo_comes_before_the_text_in_both_forms() -> None:
    call = read(echo=True)
    DIALECT.parse(call)
    told = answering(**call.options)
    events = decoded(CHAT.decoder(), [CHAT_STREAM])
    assert orjson.loads(DIALECT.write_answer(events, told))["choices"][0]["text"] == "oncea time"
    streamed = payloads(DIALECT.encoder(told).feed(events))
    assert "".join(c["choices"][0]["text"] for c in streamed if c["choices"]) == "oncea time"


def test_scores_become_parallel_lists_and_come_back() -> None:
    entry = {"token": "a ", "logprob": -0.5, "bytes": None,
             "top_logprobs": [{"token": "b", "logprob": -1.0, "bytes": None}]}  # fmt: skip
    piece = chunk({"content": "a "})
    piece["choices"][0]["logprobs"] = {"content": [entry], "refusal": None}
    events = decoded(CHAT.decoder(), [frames(piece, chunk(reason="stop"))])
    body = DIALECT.write_answer(events, answering())
    scores = orjson.loads(body)["choices"][0]["logprobs"]
    assert scores == {"tokens": ["a "], "token_logprobs": [-0.5], "top_logprobs": [{"b": -1.0}], "text_offset": [0]}
    again = CHAT.write_answer(DIALECT.read_answer(body), answering())
    assert orjson.loads(again)["choices"][0]["logprobs"]["content"] == [entry]


@pytest.mark.parametrize(("name", "usage"), [("text", None), ("text-include-usage", (31, 25))])
def test_recordings_at_every_split(recordings: Path, name: str, usage: tuple[int, int] | None) -> None:
    data = (recordings / f"openai-completions/{name}.sse").read_bytes()
    whole = decoded(DIALECT.decoder(), [data])
    check_grammar(whole)
    expected = "".join(c["choices"][0]["text"] for c in payloads(data) if c["choices"])
    assert texts(whole) == expected
    assert finishes(whole)[0].stop is Stop.MAX_TOKENS
    counted = [(e.usage.input, e.usage.output) for e in whole if isinstance(e, Counted)]
    assert counted == ([usage] if usage else [])
    for size in (1, 3, 37):
        assert decoded(DIALECT.decoder(), pieces(data, size)) == whole
        observer = DIALECT.observer(answering(usage=True).call)
        assert observed(observer, pieces(data, size)) == data.rstrip(b"\n") + b"\n\n"
        assert observer.complete


def test_a_batch_of_prompts_keeps_its_choices(recordings: Path) -> None:
    body = (recordings / "openai-completions/batch-prompts.json").read_bytes()
    events = DIALECT.read_answer(body)
    check_grammar(events)
    again = orjson.loads(DIALECT.write_answer(events, answering()))
    original = orjson.loads(body)
    assert again["choices"] == original["choices"]
    assert again["usage"] == original["usage"]
    assert DIALECT.usage_of(body).input == 49


def test_a_conversation_becomes_one_prompt() -> None:
    turns = [Turn("system", (TextPart("be brief"),)), Turn("user", (TextPart("hi"),))]
    body = orjson.loads(DIALECT.write(Prompt(turns=turns, max_output=5), Target("up", stream=True)).body)
    assert body == {
        "model": "up", "prompt": "System: be brief\n\nUser: hi\n\nAssistant:", "max_tokens": 5, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (Prompt(turns=[Turn("user", (TextPart("x"),))], tools=[Tool("function", "f")]), "tools"),
        (Prompt(turns=[Turn("user", (TextPart("x"),))], format=Format("json_object")), "response_format"),
        (Prompt(turns=[Turn("user", (MediaPart("image", url="https://x"),))]), "messages[0]"),
    ],
)
def test_what_text_cannot_say_is_refused(prompt: Prompt, param: str) -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.write(prompt, Target("up"))
    assert caught.value.param == param
    assert param in DIALECT.write(prompt, Target("up", strict=False)).dropped


@given(st.binary(max_size=300))
def test_no_bytes_can_break_the_decoder(noise: bytes) -> None:
    events = decoded(DIALECT.decoder(), [b"data: " + noise])
    assert isinstance(events[-1], (End, Failed))


prompts = st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=1) | st.text(min_size=1, max_size=9)


@given(prompts, st.floats(0, 2), st.integers(1, 99))
def test_request_to_prompt_to_request(prompt: Any, temperature: float, limit: int) -> None:
    call = read(prompt=prompt, temperature=temperature, max_tokens=limit)
    again = orjson.loads(DIALECT.write(DIALECT.parse(call), Target("m")).body)
    text = prompt if isinstance(prompt, str) else prompt[0]
    assert again == {"model": "m", "prompt": text, "temperature": temperature, "max_tokens": limit}


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Whole answers in texts, of one choice or several, each whole before the next or not."""
    count = draw(st.integers(1, 3))
    texts_of = [draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4)) for _ in range(count)]
    events: list[Event] = [Begin("x", "m"), *(BlockStart(at, Block.TEXT, at) for at in range(count))]
    said = [Text(at, piece) for at, pieces_of in enumerate(texts_of) for piece in pieces_of]
    events += draw(st.permutations(said)) if draw(st.booleans()) else said
    events += [BlockEnd(at) for at in range(count)]
    events += [Finish(draw(st.sampled_from([Stop.END, Stop.MAX_TOKENS])), at) for at in range(count)]
    return [*events, Counted(Usage(input=draw(st.integers(0, 99)), output=3)), End()]


@given(answers())
def test_events_to_stream_to_events(events: list[Event]) -> None:
    call = read(stream=True)
    call.include_usage = True
    encoder = DIALECT.encoder(Answering(call, "m", "r", 1))
    again = decoded(DIALECT.decoder(), pieces(encoder.feed(events), 11))
    check_grammar(again)
    assert said(again) == said(events)
    assert [event.usage for event in again if isinstance(event, Counted)][-1].input == next(
        event.usage.input for event in events if isinstance(event, Counted)
    )
