"""Anthropic messages (reference: `anthropic.types`): blocks one after another, numbered from 0."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from fastanchor.providers.demo.ask import Answer, Ask, Body, Call, Frame, Json, Refused, Text, Tool
from fastanchor.providers.demo.fields import flag, items, limit, strings, table, tables, text, texts

FINISH = {"stop": "end_turn", "stop_sequence": "stop_sequence", "length": "max_tokens", "tools": "tool_use"}
_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error",
    529: "overloaded_error",
}  # fmt: skip


class Messages:
    content_type = b"text/event-stream"

    def read(self, body: Body) -> Ask:
        ask = self.read_prompt(body)
        ask.limit = limit(body, "max_tokens")
        if ask.limit is None:
            raise Refused(400, "max_tokens: Field required", "max_tokens")
        return ask

    def read_prompt(self, body: Body) -> Ask:
        """As `read`, for a request that only counts tokens and has no `max_tokens`."""
        messages = tables(items(body, "messages"))
        begun = texts(messages.pop().get("content")) if _ends_with_beginning(messages) else []
        tools = [Tool(text(tool, "name"), tool.get("input_schema")) for tool in tables(body.get("tools"))]
        form = table(table(body.get("output_config")).get("format")) or table(body.get("output_format"))
        return Ask(
            model=text(body, "model"),
            body=body,
            stream=flag(body, "stream"),
            texts=texts(body.get("system")) + [t for message in messages for t in texts(message.get("content"))],
            tools=tools,
            forced=_forced(table(body.get("tool_choice")), tools),
            tools_allowed=table(body.get("tool_choice")).get("type") != "none",
            after_tool=any(b.get("type") == "tool_result" for m in messages[-1:] for b in tables(m.get("content"))),
            structured=form.get("type") == "json_schema",
            schema=form.get("schema"),
            stops=strings(body.get("stop_sequences")),
            begun="".join(begun),
        )

    def whole(self, answer: Answer) -> Json:
        choice = answer.choices[0]
        message = _message(answer)
        message["content"] = [_block(part) for part in choice.parts]
        message["stop_reason"] = FINISH[choice.finish]
        message["stop_sequence"] = choice.stop_sequence
        message["usage"]["output_tokens"] = answer.output_tokens if answer.usage else 0
        return message

    def frames(self, answer: Answer) -> Iterator[Frame]:
        choice = answer.choices[0]
        yield Frame(_event("message_start", message=_message(answer)))
        yield Frame(_event("ping"))
        for i, part in enumerate(choice.parts):
            yield Frame(_event("content_block_start", index=i, content_block=_opened(part)))
            for piece in part.pieces:
                yield Frame(_event("content_block_delta", index=i, delta=_delta(part, piece)), token=True)
            yield Frame(_event("content_block_stop", index=i))
        delta = {"stop_reason": FINISH[choice.finish], "stop_sequence": choice.stop_sequence}
        usage = {"output_tokens": answer.output_tokens if answer.usage else 0}
        yield Frame(_event("message_delta", delta=delta, usage=usage))
        yield Frame(_event("message_stop"))

    def error(self, refused: Refused) -> Json:
        default = "api_error" if refused.status >= 500 else "invalid_request_error"
        told = {"type": _TYPES.get(refused.status, default), "message": refused.message}
        return {"type": "error", "error": told, "request_id": "req_demo"}

    def broken(self, answer: Answer) -> bytes:
        return _event("error", error={"type": "overloaded_error", "message": "Overloaded"})

    def garbage(self, answer: Answer) -> bytes:
        return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"text":"lor\n\n'


def _ends_with_beginning(messages: list[Body]) -> bool:
    """Whether the last message is the assistant's, to be gone on from."""
    return len(messages) > 1 and messages[-1].get("role") == "assistant"


def _forced(choice: Body, tools: list[Tool]) -> list[Tool]:
    if choice.get("type") == "any":
        return tools[:1]
    name = choice.get("name")
    found = [tool for tool in tools if tool.name == name]
    if name is not None and not found:
        raise Refused(400, f"tool_choice: there is no tool {name!r}", "tool_choice")
    return found


def _event(kind: str, **fields: Json) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"


def _message(answer: Answer) -> Body:
    return {
        "id": f"msg_demo{answer.number}",
        "type": "message",
        "role": "assistant",
        "model": answer.ask.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": answer.input_tokens if answer.usage else 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1 if answer.usage else 0,
            "service_tier": "standard",
        },
    }


def _tool_use(call: Call, arguments: Json) -> Body:
    return {"type": "tool_use", "id": call.id.replace("call_", "toolu_"), "name": call.name, "input": arguments}


def _block(part: Text | Call) -> Body:
    return _tool_use(part, part.arguments) if isinstance(part, Call) else _text("".join(part.pieces))


def _opened(part: Text | Call) -> Body:
    return _tool_use(part, {}) if isinstance(part, Call) else _text("")


def _text(whole: str) -> Body:
    return {"type": "text", "text": whole}


def _delta(part: Text | Call, piece: str) -> Body:
    if isinstance(part, Call):
        return {"type": "input_json_delta", "partial_json": piece}
    return {"type": "text_delta", "text": piece}
