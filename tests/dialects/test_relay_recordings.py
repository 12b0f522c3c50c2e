"""Every recorded answer to every client dialect: the same words, calls and endings, but for losses that are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from fastanchor.core.events import Event, Failed, Stop
from fastanchor.dialects import registry, relay
from tests.conftest import RECORDINGS
from tests.dialects.chat_kit import answering, check_grammar, decoded, observed, pieces, said

FOLDERS = {
    "openai-chat": "openai_chat", "openai-compat": "openai_chat", "openai-completions": "openai_completions",
    "openai-responses": "openai_responses", "anthropic": "anthropic", "gemini": "gemini",
}  # fmt: skip
ANSWERS = {
    "chat-completions": "openai_chat", "responses": "openai_responses", "anthropic": "anthropic", "google": "gemini",
}  # fmt: skip
CLIENTS = ("openai_chat", "openai_completions", "openai_responses", "anthropic", "gemini", "anchor")
STREAMS = sorted(
    str(path.relative_to(RECORDINGS)) for folder in FOLDERS for path in (RECORDINGS / folder).glob("*.sse")
)
WHOLES = sorted(str(path.relative_to(RECORDINGS)) for path in RECORDINGS.glob("cross/*/*.response.json"))

_PLAIN = {Stop.STOP_SEQUENCE: Stop.END, Stop.UNKNOWN: Stop.END, Stop.PAUSE: Stop.END}
STOPS: dict[str, dict[Stop, Stop]] = {  # what a client dialect has no word for
    "openai_chat": {**_PLAIN, Stop.CONTEXT_WINDOW: Stop.MAX_TOKENS},
    "openai_completions": {**_PLAIN, Stop.TOOL_CALLS: Stop.END, Stop.CONTEXT_WINDOW: Stop.MAX_TOKENS},
    "openai_responses": {**_PLAIN, Stop.CONTEXT_WINDOW: Stop.MAX_TOKENS},
    "anthropic": {Stop.UNKNOWN: Stop.END, Stop.CONTENT_FILTER: Stop.REFUSAL},
    "gemini": {**_PLAIN, Stop.UNKNOWN: Stop.UNKNOWN, Stop.REFUSAL: Stop.CONTENT_FILTER},
}
STOPS["anchor"] = STOPS["openai_chat"]


def expected(choice: dict[str, Any], client: str) -> dict[str, Any]:
    """What a client can be told of a choice."""
    stop = STOPS[client].get(choice["stop"], choice["stop"])
    text, refusal, tools = choice["text"], choice["refusal"], choice["tools"]
    cut = choice["stop"] is Stop.MAX_TOKENS
    if client == "openai_completions":
        if choice["stop"] is Stop.REFUSAL:
            stop = Stop.END if refusal else Stop.CONTENT_FILTER
        return {"text": text + refusal, "refusal": "", "thought": "", "tools": [], "stop": stop}
    if client in ("anthropic", "gemini"):  # no refusals beside text, no calls with free text
        text, refusal = text + refusal, ""
        if not cut:
            tools = [(name, {"input": data.decode()} if isinstance(data, bytes) else data) for name, data in tools]
    elif choice["stop"] is Stop.REFUSAL and not refusal:
        stop = Stop.CONTENT_FILTER
    if client == "gemini" and cut:
        tools = []  # a call is sent whole or not at all
    return {"text": text, "refusal": refusal, "thought": choice["thought"], "tools": tools, "stop": stop}


def told(events: list[Event]) -> list[dict[str, Any]]:
    """The choices, with arguments as documents (bytes where they are free text) and without call ids."""
    choices = said(events)
    for choice in choices:
        choice["tools"] = [(name, _loaded(data)) for _, name, data in choice["tools"]]
        del choice["details"]
    return choices


def _loaded(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return data


def compare(events: list[Event], again: list[Event], client: str) -> None:
    check_grammar(again)
    ours = told(events)[:1] if client in ("openai_responses", "anthropic") else told(events)
    assert told(again) == [expected(choice, client) for choice in ours]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_reaches_every_client(recordings: Path, name: str, client: str) -> None:
    data = (recordings / name).read_bytes()
    source, target = registry.dialect(FOLDERS[name.split("/")[0]]), registry.dialect(client)
    events = decoded(source.decoder(), [data])
    answer = answering()
    carrier = relay.translate(source, target, answer.call, answer)
    out = observed(carrier, pieces(data, 499))
    if isinstance(events[-1], Failed):
        assert carrier.fault is not None
        assert carrier.fault.kind is events[-1].fault.kind
        return
    assert carrier.fault is None
    assert carrier.complete
    compare(events, decoded(target.decoder(), pieces(out, 499)), client)


@pytest.mark.parametrize("client", [client for client in CLIENTS if client != "anchor"])
@pytest.mark.parametrize("name", WHOLES)
def test_a_recorded_answer_reaches_every_client(recordings: Path, name: str, client: str) -> None:
    body = (recordings / name).read_bytes()
    source = registry.dialect(ANSWERS[name.split("/")[-1].split(".")[0]])
    target = registry.dialect(client)
    out = relay.whole(source, target, body, answering(stream=False))
    compare(source.read_answer(body), target.read_answer(out), client)


@pytest.mark.parametrize("name", WHOLES)
def test_the_short_answer_has_the_same_words(recordings: Path, name: str) -> None:
    body = (recordings / name).read_bytes()
    source = registry.dialect(ANSWERS[name.split("/")[-1].split(".")[0]])
    out = orjson.loads(relay.whole(source, registry.dialect("anchor"), body, answering(stream=False)))
    message = out["choices"][0]["message"]
    choice = told(source.read_answer(body))[0]
    assert (message["content"] or "") == choice["text"]
    assert len(message.get("tool_calls", ())) == len(choice["tools"])
