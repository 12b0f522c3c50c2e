"""OpenAI chat completions (reference: the vendor's API, `openai.types.chat`)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from fastanchor.providers.demo import openai_errors as errors
from fastanchor.providers.demo.ask import CREATED, Answer, Ask, Body, Call, Choice, Frame, Json, Refused, Tool
from fastanchor.providers.demo.fields import flag, items, limit, strings, table, tables, text, texts

FINISH = {"stop": "stop", "stop_sequence": "stop", "length": "length", "tools": "tool_calls"}
MOST_CHOICES = 16


class Chat:
    content_type = errors.SSE
    error = staticmethod(errors.error)

    def read(self, body: Body) -> Ask:
        messages = tables(items(body, "messages"))
        tools = [_tool(tool) for tool in tables(body.get("tools")) if tool.get("type") == "function"]
        form = table(body.get("response_format"))
        return Ask(
            model=text(body, "model"),
            body=body,
            stream=flag(body, "stream"),
            texts=[found for message in messages for found in texts(message.get("content"))],
            tools=tools,
            forced=_forced(body.get("tool_choice"), tools),
            tools_allowed=body.get("tool_choice") != "none",
            after_tool=bool(messages) and messages[-1].get("role") == "tool",
            structured=form.get("type") in ("json_object", "json_schema"),
            schema=table(form.get("json_schema")).get("schema"),
            limit=limit(body, "max_completion_tokens", "max_tokens"),
            choices=min(limit(body, "n") or 1, MOST_CHOICES),
            stops=strings(body.get("stop")),
            usage_wanted=flag(table(body.get("stream_options")), "include_usage"),
        )

    def whole(self, answer: Answer) -> Json:
        choices = [
            {"index": k, "message": _message(choice), "logprobs": None, "finish_reason": FINISH[choice.finish]}
            for k, choice in enumerate(answer.choices)
        ]
        body = {**_head(answer, "chat.completion"), "choices": choices}
        return {**body, "usage": _usage(answer)} if answer.usage else body

    def frames(self, answer: Answer) -> Iterator[Frame]:
        usage_wanted = answer.ask.usage_wanted and answer.usage
        head: Json = _head(answer, "chat.completion.chunk")
        if usage_wanted:
            head["usage"] = None

        def chunk(k: int, delta: Json, finish: str | None = None) -> bytes:
            choice = {"index": k, "delta": delta, "logprobs": None, "finish_reason": finish}
            return errors.data({**head, "choices": [choice]})

        for k, choice in enumerate(answer.choices):
            content = None if choice.calls else ""
            yield Frame(chunk(k, {"role": "assistant", "content": content, "refusal": None}))
        # choices take turns, one token each
        for turn in zip_longest(*(list(_deltas(choice)) for choice in answer.choices)):
            for k, delta in enumerate(turn):
                if delta is not None:
                    yield Frame(chunk(k, delta[0]), token=delta[1])
        for k, choice in enumerate(answer.choices):
            yield Frame(chunk(k, {}, FINISH[choice.finish]))
        if usage_wanted:
            yield Frame(errors.data({**head, "choices": [], "usage": _usage(answer)}))
        yield Frame(b"data: [DONE]\n\n")

    def broken(self, answer: Answer) -> bytes:
        return errors.data(errors.error(errors.IN_BAND))

    def garbage(self, answer: Answer) -> bytes:
        return b'data: {"id":"chatcmpl-demo","choices":[{"index":0,"delta":{"content":"lor\n\n'


def _tool(tool: Body) -> Tool:
    function = table(tool.get("function"))
    return Tool(text(function, "name"), function.get("parameters"))


def _forced(choice: Json, tools: list[Tool]) -> list[Tool]:
    if choice == "required":
        return tools[:1]
    name = table(table(choice).get("function")).get("name")
    found = [tool for tool in tools if tool.name == name]
    if name is not None and not found:
        raise Refused(400, f"tool_choice: there is no tool {name!r}", "tool_choice")
    return found


def _head(answer: Answer, kind: str) -> Body:
    return {
        "id": f"chatcmpl-demo{answer.number}",
        "object": kind,
        "created": CREATED,
        "model": answer.ask.model,
        "system_fingerprint": "fp_demo",
    }


def _message(choice: Choice) -> Body:
    message: Body = {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []}
    if choice.calls:
        message["content"] = None
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(call.pieces)}}
            for call in choice.calls
        ]
    return message


def _deltas(choice: Choice) -> Iterator[tuple[Body, bool]]:
    """(delta, whether it brings a token) in order; only a call's first delta names it."""
    calls = 0
    for part in choice.parts:
        if isinstance(part, Call):
            function: Body = {"name": part.name, "arguments": ""}
            yield {"tool_calls": [{"index": calls, "id": part.id, "type": "function", "function": function}]}, False
            for piece in part.pieces:
                yield {"tool_calls": [{"index": calls, "function": {"arguments": piece}}]}, True
            calls += 1
        else:
            for piece in part.pieces:
                yield {"content": piece}, True


def _usage(answer: Answer) -> Body:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
