"""Asking the demo provider, and reading what it says, in every dialect."""

from __future__ import annotations

from typing import Any

import orjson

from fastanchor.providers.demo import Script, Send, answer

PROMPT = "Tell me something nice"
CHAT = b"/v1/chat/completions"


def post(target: bytes, body: Any, *, number: int = 1, headers: list[tuple[bytes, bytes]] | None = None) -> Script:
    return answer(b"POST", target, headers or [], orjson.dumps(body), number=number)


def chat(model: str = "demo", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": PROMPT}], **fields}


REQUESTS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "chat": (CHAT, chat()),
    "completions": (b"/v1/completions", {"model": "demo", "prompt": PROMPT, "max_tokens": 1000}),
    "responses": (b"/v1/responses", {"model": "demo", "input": PROMPT}),
    "messages": (b"/v1/messages", {**chat(), "max_tokens": 1000}),
    "gemini": (b"/v1beta/models/MODEL:generateContent", {"contents": [{"parts": [{"text": PROMPT}]}]}),
}
LANGUAGES = sorted(REQUESTS)


def ask(
    language: str,
    model: str = "demo",
    *,
    stream: bool = False,
    number: int = 1,
    headers: list[tuple[bytes, bytes]] | None = None,
    **fields: Any,
) -> Script:
    target, body = REQUESTS[language]
    if language == "gemini":
        target = target.replace(b"MODEL", model.encode())
        if stream:
            target = target.replace(b":generateContent", b":streamGenerateContent") + b"?alt=sse"
        return post(target, {**body, **fields}, number=number, headers=headers)
    streamed = {"stream": True} if stream else {}
    return post(target, {**body, "model": model, **streamed, **fields}, number=number, headers=headers)


def sent(script: Script) -> bytes:
    return b"".join(step.data for step in script.steps if isinstance(step, Send))


def events(data: bytes) -> list[Any]:
    """The JSON of every event; the terminal word as it is."""
    found = []
    for block in data.replace(b"\r\n", b"\n").split(b"\n\n"):
        for line in block.splitlines():
            if line.startswith(b"data: "):
                text = line.removeprefix(b"data: ")
                found.append(text.decode() if text == b"[DONE]" else orjson.loads(text))
    return found


def deltas(language: str, data: bytes) -> list[str]:
    """The text of a stream, one string for each event that bears some."""
    found = []
    for event in events(data):
        match language:
            case "chat" if event != "[DONE]" and event["choices"]:
                found.append(event["choices"][0]["delta"].get("content"))
            case "completions" if event != "[DONE]" and event["choices"]:
                found.append(event["choices"][0]["text"])
            case "responses" if event["type"] == "response.output_text.delta":
                found.append(event["delta"])
            case "messages" if event["type"] == "content_block_delta":
                found.append(event["delta"]["text"])
            case "gemini":
                found.append(event["candidates"][0]["content"]["parts"][0]["text"])
    return [text for text in found if text]


def said(language: str, body: Any) -> str:
    """The text of a plain answer."""
    match language:
        case "chat":
            return str(body["choices"][0]["message"]["content"])
        case "completions":
            return str(body["choices"][0]["text"])
        case "responses":
            return str(body["output"][0]["content"][0]["text"])
        case "messages":
            return str(body["content"][0]["text"])
        case _:
            return str(body["candidates"][0]["content"]["parts"][0]["text"])


def plain(script: Script) -> Any:
    assert not script.stream
    return orjson.loads(sent(script))


TEXT = said("chat", plain(ask("chat")))
