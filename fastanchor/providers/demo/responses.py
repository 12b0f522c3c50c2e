"""OpenAI Responses (reference: `openai.types.responses`): items and parts, each opened, filled and closed.

Nothing is kept between requests: `previous_response_id` is refused, as an unknown one is by the vendor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

import orjson

from fastanchor.providers.demo import openai_errors as errors
from fastanchor.providers.demo.ask import CREATED, Answer, Ask, Body, Call, Frame, Json, Refused, Text, Tool
from fastanchor.providers.demo.fields import flag, limit, strings, table, tables, text, texts

NOWHERE: Mapping[str, Json] = {}


class Responses:
    content_type = errors.SSE
    error = staticmethod(errors.error)

    def read(self, body: Body) -> Ask:
        _refuse_state(body)
        asked = body.get("input")
        if not asked:
            raise Refused(400, "input: a string or a list of items is required", "input")
        last = tables(asked)[-1:]
        tools = [_tool(tool) for tool in tables(body.get("tools")) if tool.get("type") == "function"]
        form = table(table(body.get("text")).get("format"))
        return Ask(
            model=text(body, "model"),
            body=body,
            stream=flag(body, "stream"),
            texts=strings(body.get("instructions")) + texts(asked),
            tools=tools,
            forced=_forced(body.get("tool_choice"), tools),
            tools_allowed=body.get("tool_choice") != "none",
            after_tool=bool(last) and last[0].get("type") == "function_call_output",
            structured=form.get("type") in ("json_object", "json_schema"),
            schema=form.get("schema"),
            limit=limit(body, "max_output_tokens"),
        )

    def whole(self, answer: Answer) -> Json:
        return _snapshot(answer, _ending(answer), [_item(answer, i) for i in range(len(answer.choices[0].parts))])

    def frames(self, answer: Answer) -> Iterator[Frame]:
        numbers = count()

        def event(kind: str, place: Mapping[str, Json] = NOWHERE, **fields: Json) -> Frame:
            return Frame(_event(kind, next(numbers), {**place, **fields}), token=kind.endswith(".delta"))

        yield event("response.created", response=_snapshot(answer, "in_progress", []))
        yield event("response.in_progress", response=_snapshot(answer, "in_progress", []))
        for i, part in enumerate(answer.choices[0].parts):
            yield event("response.output_item.added", output_index=i, item=_opened(answer, i))
            place: Body = {"item_id": _item_id(answer, i), "output_index": i}
            if isinstance(part, Call):
                for piece in part.pieces:
                    yield event("response.function_call_arguments.delta", place, delta=piece)
                arguments = "".join(part.pieces)
                yield event("response.function_call_arguments.done", place, name=part.name, arguments=arguments)
            else:
                place["content_index"] = 0
                yield event("response.content_part.added", place, part=_output_text(""))
                for piece in part.pieces:
                    yield event("response.output_text.delta", place, delta=piece, logprobs=[])
                whole = "".join(part.pieces)
                yield event("response.output_text.done", place, text=whole, logprobs=[])
                yield event("response.content_part.done", place, part=_output_text(whole))
            yield event("response.output_item.done", output_index=i, item=_item(answer, i))
        yield event(f"response.{_ending(answer)}", response=self.whole(answer))

    def broken(self, answer: Answer) -> bytes:
        told = {"type": "server_error", "code": "server_error", "message": errors.IN_BAND.message, "param": None}
        failed = _snapshot(answer, "failed", [])
        failed["error"] = {"code": "server_error", "message": errors.IN_BAND.message}
        return _event("error", 1_000_000, {"error": told}) + _event("response.failed", 1_000_001, {"response": failed})

    def garbage(self, answer: Answer) -> bytes:
        return b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"lor\n\n'


def _refuse_state(body: Body) -> None:
    previous = body.get("previous_response_id")
    if previous is not None:
        message = f"Previous response with id {previous!r} not found."
        raise Refused(400, message, "previous_response_id", "previous_response_not_found")
    if body.get("background"):
        raise Refused(400, "background: the demo provider has no background mode", "background")


def _tool(tool: Body) -> Tool:
    return Tool(text(tool, "name"), tool.get("parameters"))


def _forced(choice: Json, tools: list[Tool]) -> list[Tool]:
    if choice == "required":
        return tools[:1]
    name = table(choice).get("name")
    found = [tool for tool in tools if tool.name == name]
    if name is not None and not found:
        raise Refused(400, f"tool_choice: there is no tool {name!r}", "tool_choice")
    return found


def _event(kind: str, number: int, fields: Body) -> bytes:
    body = orjson.dumps({"type": kind, "sequence_number": number, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"


def _ending(answer: Answer) -> str:
    return "incomplete" if answer.choices[0].finish == "length" else "completed"


def _output_text(whole: str) -> Body:
    return {"type": "output_text", "text": whole, "annotations": [], "logprobs": []}


def _item_id(answer: Answer, i: int) -> str:
    prefix = "fc" if isinstance(answer.choices[0].parts[i], Call) else "msg"
    return f"{prefix}_demo{answer.number}x{i}"


def _opened(answer: Answer, i: int) -> Body:
    item = {**_item(answer, i), "status": "in_progress"}
    return {**item, "arguments": ""} if "arguments" in item else {**item, "content": []}


def _item(answer: Answer, i: int) -> Body:
    part = answer.choices[0].parts[i]
    item: Body = {"id": _item_id(answer, i), "status": "completed"}
    if isinstance(part, Text):
        if _ending(answer) == "incomplete":
            item["status"] = "incomplete"
        return {**item, "type": "message", "role": "assistant", "content": [_output_text("".join(part.pieces))]}
    return {**item, "type": "function_call", "call_id": part.id, "name": part.name, "arguments": "".join(part.pieces)}


def _snapshot(answer: Answer, status: str, output: list[Body]) -> Body:
    asked = answer.ask.body
    ended = status in ("completed", "incomplete")
    return {
        "id": f"resp_demo{answer.number}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "metadata": asked.get("metadata") or {},
        "model": answer.ask.model,
        "output": output,
        "parallel_tool_calls": asked.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": asked.get("store", True),
        "temperature": asked.get("temperature", 1.0),
        "text": asked.get("text") or {"format": {"type": "text"}},
        "tool_choice": asked.get("tool_choice") or "auto",
        "tools": asked.get("tools") or [],
        "top_p": asked.get("top_p", 1.0),
        "truncation": asked.get("truncation") or "disabled",
        "usage": _usage(answer) if ended and answer.usage else None,
        "user": None,
    }


def _usage(answer: Answer) -> Body:
    return {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
