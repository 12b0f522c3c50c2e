"""Gemini generateContent (reference: `google.genai.types`): whole responses as deltas, a call always in one piece.

A stream is server-sent events with CRLF under `alt=sse`, else one JSON array.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from fastanchor.providers.demo.ask import Answer, Ask, Body, Call, Choice, Frame, Json, Refused, Tool
from fastanchor.providers.demo.fields import items, limit, strings, table, tables, text, texts

FINISH = {"stop": "STOP", "stop_sequence": "STOP", "length": "MAX_TOKENS", "tools": "STOP"}
_STATUS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
MOST_CHOICES = 8
_SNAKE = re.compile(r"_([a-z])")


class Generate:
    """`model` and `stream` come from the path, `sse` from the query."""

    def __init__(self, model: str, stream: bool, sse: bool) -> None:
        self.model = model
        self.stream = stream
        self.sse = sse
        self.content_type = b"text/event-stream" if sse else b"application/json"

    def read(self, body: Body) -> Ask:
        body = _camel(body)
        contents = tables(items(body, "contents"))
        config = _camel(body.get("generationConfig"))
        calling = _camel(_camel(body.get("toolConfig")).get("functionCallingConfig"))
        tools = _tools(body)
        prompt = [table(body.get("systemInstruction")), *contents]
        return Ask(
            model=self.model,
            body=body,
            stream=self.stream,
            texts=[found for content in prompt for found in texts(content.get("parts"))],
            tools=tools,
            forced=_forced(calling, tools),
            tools_allowed=calling.get("mode") != "NONE",
            after_tool=any(
                "functionResponse" in _camel(part) for c in contents[-1:] for part in tables(c.get("parts"))
            ),
            structured=config.get("responseMimeType") == "application/json",
            schema=config.get("responseJsonSchema") or config.get("responseSchema"),
            limit=limit(config, "maxOutputTokens"),
            choices=min(limit(config, "candidateCount") or 1, MOST_CHOICES),
            stops=strings(config.get("stopSequences")),
        )

    def whole(self, answer: Answer) -> Json:
        candidates = [
            _candidate(k, [_part(part) for part in _shown(choice)], FINISH[choice.finish])
            for k, choice in enumerate(answer.choices)
        ]
        return _response(answer, candidates, answer.output_tokens)

    def frames(self, answer: Answer) -> Iterator[Frame]:
        sent, first = 0, True
        for k, choice in enumerate(answer.choices):
            for part, size in _deltas(choice):
                sent += size
                yield self._frame(_response(answer, [_candidate(k, [part])], sent), first, token=True)
                first = False
        ends = [_candidate(k, [{"text": ""}], FINISH[choice.finish]) for k, choice in enumerate(answer.choices)]
        last = self._frame(_response(answer, ends, sent), first)
        yield last if self.sse else Frame(last.data + b"\r\n]")

    def error(self, refused: Refused) -> Json:
        status = _STATUS.get(refused.status, "UNKNOWN")
        return {"error": {"code": refused.status, "message": refused.message, "status": status}}

    def broken(self, answer: Answer) -> bytes:
        """Bare, indented JSON between the events, as the vendor sends it."""
        told = self.error(Refused(503, "The demo provider failed in mid-stream, as asked."))
        return orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\r\n"

    def garbage(self, answer: Answer) -> bytes:
        cut = b'{"candidates": [{"content": {"parts": [{"text": "lor'
        return b"data: " + cut + b"\r\n\r\n" if self.sse else b",\r\n" + cut

    def _frame(self, response: Body, first: bool, token: bool = False) -> Frame:
        body = orjson.dumps(response)
        if self.sse:
            return Frame(b"data: " + body + b"\r\n\r\n", token)
        return Frame((b"[" if first else b",\r\n") + body, token)


def _camel(body: Json) -> Body:
    """A table with its names in camel case: the vendor takes both spellings (proto3 JSON)."""
    return {_SNAKE.sub(lambda match: match[1].upper(), name): value for name, value in table(body).items()}


def _tools(body: Body) -> list[Tool]:
    listed = [_camel(tool).get("functionDeclarations") for tool in tables(body.get("tools"))]
    declared = [_camel(function) for functions in listed for function in tables(functions)]
    return [Tool(text(f, "name"), f.get("parametersJsonSchema") or f.get("parameters")) for f in declared]


def _forced(calling: Body, tools: list[Tool]) -> list[Tool]:
    if calling.get("mode") != "ANY":
        return []
    names = strings(calling.get("allowedFunctionNames"))
    return [tool for tool in tools if not names or tool.name in names][:1]


def _shown(choice: Choice) -> list[str | Call]:
    return [part if isinstance(part, Call) else "".join(part.pieces) for part in choice.parts]


def _part(part: str | Call) -> Body:
    return {"functionCall": {"name": part.name, "args": part.arguments}} if isinstance(part, Call) else {"text": part}


def _deltas(choice: Choice) -> Iterator[tuple[Body, int]]:
    """(part, its tokens) of each event."""
    for part in choice.parts:
        if isinstance(part, Call):
            yield _part(part), len(part.pieces)
        else:
            for piece in part.pieces:
                yield _part(piece), 1


def _candidate(k: int, parts: list[Body], finish: str | None = None) -> Body:
    candidate: Body = {"content": {"role": "model", "parts": parts}, "index": k}
    return {**candidate, "finishReason": finish} if finish else candidate


def _response(answer: Answer, candidates: list[Body], sent: int) -> Body:
    body: Body = {
        "candidates": candidates,
        "modelVersion": answer.ask.model,
        "responseId": f"demo{answer.number}",
    }
    if answer.usage:
        body["usageMetadata"] = {
            "promptTokenCount": answer.input_tokens,
            "candidatesTokenCount": sent,
            "totalTokenCount": answer.input_tokens + sent,
        }
    return body
