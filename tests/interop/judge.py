"""What an official client library makes of an answer, in plain terms. Runs with any generation of the libraries.

As a program: `python judge.py` reads lines of JSON `[dialect, stream, base_url, model, message, tools]` and answers
each with a line of JSON: what `judge` returns, or `{"raised": "name of the exception"}`.
"""

from __future__ import annotations

import json
import sys
import warnings
from functools import lru_cache

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
"""The one tool that a judge can offer: `weather`."""


def judge(dialect, stream, base_url, model="m", message="Hi", tools=False):
    """`{"choices": [{text, refusal, tools, stop}], "usage": {input, output, cached, written, reasoning} or None}`."""
    return JUDGES[dialect](stream, base_url, model, message, tools)


def openai_chat(stream, base_url, model, message, tools):
    client = openai_client(base_url)
    asked = {"model": model, "messages": [{"role": "user", "content": message}]}
    if tools:
        asked["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
    if stream:
        with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
            for _ in events:
                pass
            answer = events.current_completion_snapshot
    else:
        answer = client.chat.completions.create(**asked)
    choices = []
    for choice in answer.choices:
        calls = choice.message.tool_calls or []
        choices.append({
            "text": choice.message.content or "", "refusal": choice.message.refusal or "",
            "tools": [_chat_call(call) for call in calls], "stop": choice.finish_reason,
        })
    return {"choices": choices, "usage": _openai_usage(answer.usage)}


def _chat_call(call):
    if getattr(call, "custom", None):
        custom = call.custom if isinstance(call.custom, dict) else call.custom.model_dump()
        return [custom["name"], custom["input"]]
    return [call.function.name, call.function.arguments]


def openai_completions(stream, base_url, model, message, tools):
    client = openai_client(base_url)
    asked = {"model": model, "prompt": message, "max_tokens": 64}
    if stream:
        parts = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    else:
        parts = [client.completions.create(**asked)]
    told, usage = {}, None
    for part in parts:
        usage = part.usage or usage
        for choice in part.choices:
            one = told.setdefault(choice.index, {"text": "", "refusal": "", "tools": [], "stop": None})
            one["text"] += choice.text or ""
            one["stop"] = choice.finish_reason or one["stop"]
    return {"choices": [told[index] for index in sorted(told)], "usage": _openai_usage(usage)}


def openai_responses(stream, base_url, model, message, tools):
    client = openai_client(base_url)
    asked = {"model": model, "input": message}
    if tools:
        asked["tools"] = [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}]
    if stream:
        try:
            with client.responses.stream(**asked) as events:
                for event in events:
                    last = event
            answer = events.get_final_response()
        except RuntimeError:  # the helper has no word for an answer that is incomplete
            answer = last.response
    else:
        answer = client.responses.create(**asked)
    one = {"text": "", "refusal": "", "tools": [], "stop": answer.status}
    if answer.incomplete_details:
        one["stop"] = answer.incomplete_details.reason
    for item in answer.output:
        if item.type == "message":
            one["text"] += "".join(part.text for part in item.content if part.type == "output_text")
            one["refusal"] += "".join(part.refusal for part in item.content if part.type == "refusal")
        elif item.type == "function_call":
            one["tools"].append([item.name, item.arguments])
        elif item.type == "custom_tool_call":
            one["tools"].append([item.name, item.input])
    usage = answer.usage
    return {"choices": [one], "usage": usage and {
        "input": usage.input_tokens, "output": usage.output_tokens,
        "cached": usage.input_tokens_details.cached_tokens, "written": None,
        "reasoning": usage.output_tokens_details.reasoning_tokens,
    }}


def anthropic(stream, base_url, model, message, tools):
    client = anthropic_client(base_url)
    asked = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": message}]}
    if tools:
        asked["tools"] = [{"name": "weather", "input_schema": PARAMETERS}]
    if stream:
        with client.messages.stream(**asked) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(**asked)
    used = answer.usage
    return {
        "choices": [{
            "text": "".join(block.text for block in answer.content if block.type == "text"), "refusal": "",
            "tools": [[b.name, json.dumps(b.input)] for b in answer.content if b.type == "tool_use"],
            "stop": answer.stop_reason,
        }],
        "usage": {
            "input": used.input_tokens, "output": used.output_tokens, "cached": used.cache_read_input_tokens or 0,
            "written": used.cache_creation_input_tokens or 0, "reasoning": None,
        },
    }


def gemini(stream, base_url, model, message, tools):
    from google.genai import types

    client = gemini_client(base_url)
    config = None
    if tools:
        declared = types.FunctionDeclaration(name="weather", parameters_json_schema=PARAMETERS)
        config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    asked = {"model": model, "contents": message, "config": config}
    if stream:
        parts = list(client.models.generate_content_stream(**asked))
    else:
        parts = [client.models.generate_content(**asked)]
    told, usage = {}, None
    for part in parts:
        usage = part.usage_metadata or usage
        for candidate in part.candidates or []:
            one = told.setdefault(candidate.index or 0, {"text": "", "refusal": "", "tools": [], "stop": None})
            _gemini_parts(one, (candidate.content and candidate.content.parts) or [])
            if candidate.finish_reason:
                one["stop"] = candidate.finish_reason.value
        if part.prompt_feedback and part.prompt_feedback.block_reason:
            told.setdefault(0, {"text": "", "refusal": "", "tools": []})["stop"] = "SAFETY"
    return {"choices": [told[index] for index in sorted(told)], "usage": usage and {
        "input": usage.prompt_token_count or 0, "output": usage.candidates_token_count or 0,
        "cached": usage.cached_content_token_count or 0, "written": None,
        "reasoning": usage.thoughts_token_count or 0,
    }}


def _gemini_parts(one, parts):
    for part in parts:
        if part.text and not part.thought:
            one["text"] += part.text
        if part.function_call and part.function_call.name:
            one["tools"].append([part.function_call.name, json.dumps(part.function_call.args or {})])


@lru_cache
def anthropic_client(base_url):
    import anthropic as library

    return library.Anthropic(api_key="k", base_url=base_url, max_retries=0)


@lru_cache
def gemini_client(base_url):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from google import genai
        from google.genai import types

        return genai.Client(api_key="k", http_options=types.HttpOptions(base_url=base_url))


@lru_cache
def openai_client(base_url):
    import openai

    return openai.OpenAI(api_key="k", base_url=base_url + "/v1", max_retries=0)


def _openai_usage(usage):
    if usage is None:
        return None
    given, made = usage.prompt_tokens_details, usage.completion_tokens_details
    return {
        "input": usage.prompt_tokens, "output": usage.completion_tokens,
        "cached": given.cached_tokens or 0 if given else 0, "written": None,
        "reasoning": made.reasoning_tokens or 0 if made else 0,
    }


JUDGES = {
    "openai_chat": openai_chat, "openai_completions": openai_completions, "openai_responses": openai_responses,
    "anthropic": anthropic, "gemini": gemini,
}


def main():
    for line in sys.stdin:
        try:
            told = judge(*json.loads(line))
        except Exception as error:  # which one it was is the verdict
            told = {"raised": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
