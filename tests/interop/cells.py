"""The matrix of recordings and client dialects: what each client must be told, and what it cannot be.

A loss is named here, by rule, and stands in the table `golden/matrix.md`; what is not a named loss must arrive.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import orjson

from fastanchor.core.call import Call
from fastanchor.core.events import Counted, Event, Failed, Finish, Stop
from fastanchor.core.usage import Usage
from fastanchor.dialects import registry, relay
from fastanchor.dialects.contract import Answering
from fastanchor.providers import classify
from tests.dialects.chat_kit import said

Json: TypeAlias = dict[str, Any]

FOLDERS = {
    "openai-chat": "openai_chat", "openai-compat": "openai_chat", "openai-completions": "openai_completions",
    "openai-responses": "openai_responses", "anthropic": "anthropic", "gemini": "gemini",
}  # fmt: skip
ANSWERS = {
    "chat-completions": "openai_chat", "responses": "openai_responses", "anthropic": "anthropic", "google": "gemini",
}  # fmt: skip
CLIENTS = ("openai_chat", "openai_responses", "openai_completions", "anthropic", "gemini")

WORDS: dict[str, dict[Stop, str]] = {
    # reference: the table of stop reasons
    "openai_chat": {
        Stop.END: "stop", Stop.STOP_SEQUENCE: "stop", Stop.MAX_TOKENS: "length", Stop.CONTEXT_WINDOW: "length",
        Stop.TOOL_CALLS: "tool_calls", Stop.CONTENT_FILTER: "content_filter", Stop.PAUSE: "stop", Stop.UNKNOWN: "stop",
    },
    "openai_responses": {
        Stop.END: "completed", Stop.STOP_SEQUENCE: "completed", Stop.MAX_TOKENS: "max_output_tokens",
        Stop.CONTEXT_WINDOW: "max_output_tokens", Stop.TOOL_CALLS: "completed", Stop.CONTENT_FILTER: "content_filter",
        Stop.PAUSE: "completed", Stop.UNKNOWN: "completed",
    },
    "openai_completions": {
        Stop.END: "stop", Stop.STOP_SEQUENCE: "stop", Stop.MAX_TOKENS: "length", Stop.CONTEXT_WINDOW: "length",
        Stop.TOOL_CALLS: "stop", Stop.CONTENT_FILTER: "content_filter", Stop.PAUSE: "stop", Stop.UNKNOWN: "stop",
    },
    "anthropic": {
        Stop.END: "end_turn", Stop.STOP_SEQUENCE: "stop_sequence", Stop.MAX_TOKENS: "max_tokens",
        Stop.CONTEXT_WINDOW: "model_context_window_exceeded", Stop.TOOL_CALLS: "tool_use",
        Stop.CONTENT_FILTER: "refusal", Stop.REFUSAL: "refusal", Stop.PAUSE: "pause_turn", Stop.UNKNOWN: "end_turn",
    },
    "gemini": {
        Stop.END: "STOP", Stop.STOP_SEQUENCE: "STOP", Stop.MAX_TOKENS: "MAX_TOKENS", Stop.CONTEXT_WINDOW: "MAX_TOKENS",
        Stop.TOOL_CALLS: "STOP", Stop.CONTENT_FILTER: "SAFETY", Stop.REFUSAL: "SAFETY", Stop.PAUSE: "CONTINUATION",
        Stop.UNKNOWN: "OTHER",
    },
}  # fmt: skip
ONE_CHOICE = ("openai_responses", "anthropic")


def names(root: Path) -> list[str]:
    """Every recorded answer, streamed or whole; errors by status are no answers."""
    found = [path for folder in FOLDERS for path in (root / folder).iterdir() if not path.name.startswith("error-4")]
    found += root.glob("cross/*/*.response.json")
    return sorted(str(path.relative_to(root)) for path in found)


def source_of(name: str) -> str:
    folder, *_, file = name.split("/")
    return ANSWERS[file.split(".")[0]] if folder == "cross" else FOLDERS[folder]


def is_stream(name: str) -> bool:
    return name.endswith(".sse") or "json-array-stream" in name or "error-body-in-stream" in name


def events_of(name: str, body: bytes) -> list[Event]:
    source = registry.dialect(source_of(name))
    if not is_stream(name):
        return source.read_answer(body)
    decoder = source.decoder()
    return decoder.feed(body) + decoder.end()


def split(body: bytes, seed: str) -> list[bytes]:
    """The body as a network might bring it: in pieces of any size, the same every time."""
    random, cuts = Random(seed), [0]
    while cuts[-1] < len(body):
        cuts.append(cuts[-1] + random.choice((1, 2, 3, random.randrange(4, 64), random.randrange(64, 4096))))
    return [body[start:end] for start, end in pairwise(cuts)]


def errors(root: Path) -> list[str]:
    """Every recorded answer whose status says that it is an error: `error-STATUS….json`."""
    return sorted(str(path.relative_to(root)) for path in root.glob("*/*error-4??*.json"))


def refused(name: str, body: bytes, client: str) -> tuple[int, bytes]:
    """What a client is told of a recorded error: its status and its body."""
    status = int(name.partition("error-")[2][:3])
    fault = classify.from_answer(status, lambda _: None, body, source_of(name), 0.0)
    told = (fault.row.anthropic_status if client == "anthropic" else 0) or fault.status
    return told, registry.dialect(client).fault(fault, "req_1")


def message_of(body: bytes) -> str:
    error = orjson.loads(body)["error"]
    return str(error["message"])


def family(dialect: str) -> str:
    """Dialects of one family tell errors in the same words."""
    return dialect.partition("_")[0]


def translated(name: str, body: bytes, client: str) -> tuple[bytes, bytes]:
    """The answer in the client's dialect, and its content type."""
    stream = is_stream(name)
    options = {"framing": "sse"} if client == "gemini" else {}
    call = Call(client, "public", b"{}", stream=stream, include_usage=True, prompt_tokens=7, options=options)
    answering = Answering(call, "public", "req_1", 1_700_000_000)
    source, target = registry.dialect(source_of(name)), registry.dialect(client)
    if not stream:
        return relay.whole(source, target, body, answering), b"application/json"
    carrier = relay.translate(source, target, call, answering)
    out = b"".join(map(carrier.feed, split(body, f"{name} {client}"))) + carrier.end()
    if carrier.fault is not None:
        out += relay.fault_event(carrier, target, carrier.fault, "req_1")
    return out, target.stream_type(call)


def golden(events: list[Event]) -> Json:
    """The answer in short: long texts as their beginning and a digest."""
    if isinstance(events[-1], Failed):
        return {"fault": events[-1].fault.kind.value}
    return {
        "choices": [
            {
                "text": short(choice["text"]),
                "refusal": short(choice["refusal"]),
                "tools": [[name, short(canonical(data))] for _, name, data in choice["tools"]],
                "stop": choice["stop"].value,
            }
            for choice in said(events)
        ],
        "usage": usage_told(usage_of(events)),
    }


def usage_of(events: list[Event]) -> Usage:
    usage = Usage()
    for event in events:
        if isinstance(event, Counted):
            usage.update(event.usage)
    return usage


def usage_told(usage: Usage) -> Json | None:
    if not usage.known:
        return None
    told = {"input": usage.input, "output": usage.output, "cached": usage.cache_read, "written": usage.cache_write}
    return {**told, "reasoning": usage.reasoning}


def short(text: str) -> str:
    if len(text) <= 48:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    return f"{text[:32]}… {len(text)} characters, sha256 {digest}"


def canonical(arguments: bytes | str) -> str:
    """Arguments in one spelling; free text as it is."""
    text = arguments.decode("utf-8", "replace") if isinstance(arguments, bytes) else arguments
    try:
        return json.dumps(orjson.loads(text), sort_keys=True)
    except orjson.JSONDecodeError:
        return text


def expected(events: list[Event], client: str) -> tuple[list[Json], list[str]]:
    """(choices, losses): what the client's library must say, and what cannot be told in its dialect."""
    losses: dict[str, None] = {}
    choices = said(events)
    if len(choices) > 1 and client in ONE_CHOICE:
        losses["first choice only"] = None
        choices = choices[:1]
    return [_choice(choice, client, losses) for choice in choices], list(losses)


def _choice(choice: Json, client: str, losses: dict[str, None]) -> Json:
    text, refusal, stop = choice["text"], choice["refusal"], choice["stop"]
    tools = [[name, canonical(data)] for _, name, data in choice["tools"]]
    if refusal and client not in ("openai_chat", "openai_responses"):
        losses["refusal as text"] = None
        text, refusal = text + refusal, ""
    if tools and client == "openai_completions":
        losses["no tools"] = None
        tools = []
    if client in ("anthropic", "gemini"):
        tools = _objects(tools, stop, client, losses)
    if stop is Stop.REFUSAL and client not in ("anthropic", "gemini"):
        stop = Stop.END if choice["refusal"] else Stop.CONTENT_FILTER
    return {"text": text, "refusal": refusal, "tools": tools, "stop": WORDS[client][stop]}


def _objects(tools: list[list[str]], stop: Stop, client: str, losses: dict[str, None]) -> list[list[str]]:
    """Arguments that must be objects; a call that was cut off is sent whole or not at all in one of these dialects."""
    out = []
    for name, arguments in tools:
        if _is_object(arguments):
            out.append([name, arguments])
        elif stop is not Stop.MAX_TOKENS:
            losses["free text as {input}"] = None
            out.append([name, canonical(orjson.dumps({"input": arguments}))])
        elif client == "gemini":
            losses["cut call left out"] = None
        else:
            out.append([name, arguments])
    return out


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def counted(usage: Usage, client: str) -> Json | None:
    """The usage in the client's own terms, None where the provider did not tell it all."""
    told = usage_told(usage)
    if told is None:
        return None
    if client == "anthropic":
        told["input"] = max(0, told["input"] - told["cached"] - told["written"])
        return {**told, "reasoning": None}
    told["written"] = None
    if client == "gemini":
        told["output"] -= told["reasoning"]
    if client == "openai_completions":
        return {**told, "cached": 0, "reasoning": 0}
    return told


def native_stop(events: list[Event]) -> str:
    """The provider's own word for the end of the first choice."""
    return next((event.native for event in events if isinstance(event, Finish)), "")


def cut_call(events: list[Event]) -> bool:
    """Whether a tool call was cut off in the midst of its arguments."""
    return any(not _is_object(canonical(data)) for choice in said(events) for _, _, data in choice["tools"]) and any(
        choice["stop"] is Stop.MAX_TOKENS for choice in said(events)
    )
