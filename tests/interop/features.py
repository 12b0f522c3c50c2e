"""What a client can ask for, said in each client dialect: the rows of the table of pairings.

A feature that a dialect has no words for has no entry there. `asked` is the whole request body.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import orjson

from fastanchor.core.call import Call
from fastanchor.dialects import registry

Json: TypeAlias = dict[str, Any]

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)  # fmt: skip
PDF = "JVBERi0xLjQKJSVFT0YK"
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA="
IMAGE_URL = "https://example.com/a.png"
SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
CHAT_TOOL: Json = {"type": "function", "function": {"name": "f", "description": "does", "parameters": SCHEMA}}
RESPONSES_TOOL: Json = {"type": "function", "name": "f", "description": "does", "parameters": SCHEMA, "strict": False}
MESSAGES_TOOL: Json = {"name": "f", "description": "does", "input_schema": SCHEMA}
GEMINI_TOOL: Json = {"functionDeclarations": [{"name": "f", "description": "does", "parametersJsonSchema": SCHEMA}]}

CLIENTS = ("openai_chat", "openai_responses", "openai_completions", "anthropic", "gemini")
"""Anchor's requests are chat's."""
PATHS = {
    "openai_chat": "/v1/chat/completions", "openai_responses": "/v1/responses", "openai_completions": "/v1/completions",
    "anthropic": "/v1/messages", "gemini": "/v1beta/models/public:generateContent",
}  # fmt: skip


def user(*parts: Json) -> list[Json]:
    """A chat or Messages conversation of one user turn."""
    return [{"role": "user", "content": list(parts)}]


def config(**fields: Any) -> Json:
    return {"generationConfig": fields}


def contents(*parts: Json) -> Json:
    """A Gemini conversation of one user turn."""
    return {"contents": [{"role": "user", "parts": list(parts)}]}


def chat_tools(**fields: Any) -> Json:
    return {"tools": [CHAT_TOOL], **fields}


def responses_tools(**fields: Any) -> Json:
    return {"tools": [RESPONSES_TOOL], **fields}


def messages_tools(**fields: Any) -> Json:
    return {"tools": [MESSAGES_TOOL], **fields}


def gemini_tools(**fields: Any) -> Json:
    chosen = {"toolConfig": {"functionCallingConfig": fields}} if fields else {}
    return {"tools": [GEMINI_TOOL], **chosen}


BASE: dict[str, Json] = {
    "openai_chat": {"model": "public", "messages": user({"type": "text", "text": "Hi"})},
    "openai_responses": {"model": "public", "input": [{"role": "user", "content": "Hi"}]},
    "openai_completions": {"model": "public", "prompt": "Hi"},
    "anthropic": {"model": "public", "max_tokens": 2048, "messages": user({"type": "text", "text": "Hi"})},
    "gemini": contents({"text": "Hi"}),
}

HISTORY_CHAT: list[Json] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":9007199254740993}'}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "7"},
]  # fmt: skip
HISTORY_RESPONSES: list[Json] = [
    {"role": "user", "content": "Hi"},
    {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a":9007199254740993}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "7"},
]
HISTORY_MESSAGES: list[Json] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "7"}]},
]
HISTORY_GEMINI: list[Json] = [
    {"role": "user", "parts": [{"text": "Hi"}]},
    {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "7"}}}]},
]

FEATURES: dict[str, dict[str, Json]] = {
    "system text": {
        "openai_chat": {"messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]},
        "openai_responses": {"instructions": "Be brief"},
        "anthropic": {"system": "Be brief"},
        "gemini": {"systemInstruction": {"parts": [{"text": "Be brief"}]}},
    },
    "system text in mid-conversation": {
        "openai_chat": {"messages": [
            {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"},
            {"role": "user", "content": "Go"}, {"role": "system", "content": "Be brief"}]},
        "openai_responses": {"input": [
            {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"},
            {"role": "user", "content": "Go"}, {"role": "developer", "content": "Be brief"}]},
        "anthropic": {"messages": [
            {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"},
            {"role": "user", "content": "Go"}, {"role": "system", "content": "Be brief"}]},
    },
    "image, inline": {
        "openai_chat": {"messages": user({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}})},
        "openai_responses": {"input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]}]},
        "anthropic": {"messages": user(
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}})},
        "gemini": contents({"inlineData": {"mimeType": "image/png", "data": PNG}}),
    },
    "image by URL": {
        "openai_chat": {"messages": user({"type": "image_url", "image_url": {"url": IMAGE_URL}})},
        "openai_responses": {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": IMAGE_URL}]}]},
        "anthropic": {"messages": user({"type": "image", "source": {"type": "url", "url": IMAGE_URL}})},
        "gemini": contents({"fileData": {"mimeType": "image/png", "fileUri": IMAGE_URL}}),
    },
    "image detail": {
        "openai_chat": {"messages": user(
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}})},
        "openai_responses": {"input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"}]}]},
    },
    "document (PDF), inline": {
        "openai_chat": {"messages": user(
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}})},
        "openai_responses": {"input": [{"role": "user", "content": [
            {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}]}]},
        "anthropic": {"messages": user({"type": "document", "source": {
            "type": "base64", "media_type": "application/pdf", "data": PDF}})},
        "gemini": contents({"inlineData": {"mimeType": "application/pdf", "data": PDF}}),
    },
    "document by URL": {
        "openai_responses": {"input": [{"role": "user", "content": [
            {"type": "input_file", "file_url": "https://example.com/a.pdf"}]}]},
        "anthropic": {"messages": user(
            {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}})},
        "gemini": contents({"fileData": {"mimeType": "application/pdf", "fileUri": "gs://bucket/a.pdf"}}),
    },
    "audio, inline": {
        "openai_chat": {"messages": user({"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}})},
        "openai_responses": {"input": [{"role": "user", "content": [
            {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}]}]},
        "gemini": contents({"inlineData": {"mimeType": "audio/wav", "data": WAV}}),
    },
    "video": {"gemini": contents({"inlineData": {"mimeType": "video/mp4", "data": WAV}})},
    "tools": {
        "openai_chat": chat_tools(), "openai_responses": responses_tools(), "anthropic": messages_tools(),
        "gemini": gemini_tools(),
    },
    "tool call and result replayed": {
        "openai_chat": chat_tools(messages=HISTORY_CHAT),
        "openai_responses": responses_tools(input=HISTORY_RESPONSES),
        "anthropic": messages_tools(messages=HISTORY_MESSAGES),
        "gemini": {**gemini_tools(), "contents": HISTORY_GEMINI},
    },
    "tool result that is an error": {
        "anthropic": messages_tools(messages=[*HISTORY_MESSAGES[:2], {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": "7", "is_error": True}]}]),
    },
    "tool result with an image": {
        "openai_responses": responses_tools(input=[*HISTORY_RESPONSES[:2], {
            "type": "function_call_output", "call_id": "call_1",
            "output": [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]}]),
        "anthropic": messages_tools(messages=[*HISTORY_MESSAGES[:2], {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]}]}]),
    },
    "tool, strict": {
        "openai_chat": {"tools": [{"type": "function", "function": {**CHAT_TOOL["function"], "strict": True}}]},
        "openai_responses": {"tools": [{**RESPONSES_TOOL, "strict": True}]},
        "anthropic": {"tools": [{**MESSAGES_TOOL, "strict": True}]},
        "gemini": gemini_tools(mode="VALIDATED"),
    },
    "custom (free text) tool": {
        "openai_chat": {"tools": [{"type": "custom", "custom": {"name": "f", "description": "does"}}]},
        "openai_responses": {"tools": [{"type": "custom", "name": "f", "description": "does"}]},
    },
    "hosted tool: web search": {
        "openai_chat": {"web_search_options": {}},
        "openai_responses": {"tools": [{"type": "web_search"}]},
        "anthropic": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        "gemini": {"tools": [{"googleSearch": {}}]},
    },
    "hosted tool: code execution": {
        "openai_responses": {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        "anthropic": {"tools": [{"type": "code_execution_20250522", "name": "code_execution"}]},
        "gemini": {"tools": [{"codeExecution": {}}]},
    },
    "built-in client tool": {
        "openai_responses": {"tools": [{"type": "local_shell"}]},
        "anthropic": {"tools": [{"type": "bash_20250124", "name": "bash"}]},
    },
    "tool choice: none": {
        "openai_chat": chat_tools(tool_choice="none"), "openai_responses": responses_tools(tool_choice="none"),
        "anthropic": messages_tools(tool_choice={"type": "none"}), "gemini": gemini_tools(mode="NONE"),
    },
    "tool choice: required": {
        "openai_chat": chat_tools(tool_choice="required"), "openai_responses": responses_tools(tool_choice="required"),
        "anthropic": messages_tools(tool_choice={"type": "any"}), "gemini": gemini_tools(mode="ANY"),
    },
    "tool choice: named": {
        "openai_chat": chat_tools(tool_choice={"type": "function", "function": {"name": "f"}}),
        "openai_responses": responses_tools(tool_choice={"type": "function", "name": "f"}),
        "anthropic": messages_tools(tool_choice={"type": "tool", "name": "f"}),
        "gemini": gemini_tools(mode="ANY", allowedFunctionNames=["f"]),
    },
    "tool choice: a subset": {
        "openai_chat": chat_tools(tool_choice={"type": "allowed_tools", "allowed_tools": {
            "mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}}),
        "openai_responses": responses_tools(tool_choice={
            "type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}),
    },
    "no parallel tool calls": {
        "openai_chat": chat_tools(parallel_tool_calls=False),
        "openai_responses": responses_tools(parallel_tool_calls=False),
        "anthropic": messages_tools(tool_choice={"type": "auto", "disable_parallel_tool_use": True}),
    },
    "limit of output": {
        "openai_chat": {"max_completion_tokens": 99}, "openai_responses": {"max_output_tokens": 99},
        "openai_completions": {"max_tokens": 99}, "anthropic": {"max_tokens": 99}, "gemini": config(maxOutputTokens=99),
    },
    "stop sequences": {
        "openai_chat": {"stop": ["END"]}, "openai_completions": {"stop": ["END"]},
        "anthropic": {"stop_sequences": ["END"]}, "gemini": config(stopSequences=["END"]),
    },
    "five stop sequences": {
        "anthropic": {"stop_sequences": ["A", "B", "C", "D", "E"]},
        "gemini": config(stopSequences=["A", "B", "C", "D", "E"]),
    },
    "temperature": {
        "openai_chat": {"temperature": 0.5}, "openai_responses": {"temperature": 0.5},
        "openai_completions": {"temperature": 0.5}, "anthropic": {"temperature": 0.5},
        "gemini": config(temperature=0.5),
    },
    "temperature above 1": {
        "openai_chat": {"temperature": 1.5}, "openai_responses": {"temperature": 1.5},
        "openai_completions": {"temperature": 1.5}, "gemini": config(temperature=1.5),
    },
    "top_p": {
        "openai_chat": {"top_p": 0.5}, "openai_responses": {"top_p": 0.5}, "openai_completions": {"top_p": 0.5},
        "anthropic": {"top_p": 0.5}, "gemini": config(topP=0.5),
    },
    "top_k": {"anthropic": {"top_k": 5}, "gemini": config(topK=5)},
    "penalties": {
        "openai_chat": {"frequency_penalty": 0.5}, "openai_completions": {"frequency_penalty": 0.5},
        "gemini": config(frequencyPenalty=0.5),
    },
    "seed": {"openai_chat": {"seed": 7}, "openai_completions": {"seed": 7}, "gemini": config(seed=7)},
    "logit bias": {"openai_chat": {"logit_bias": {"50": -1}}, "openai_completions": {"logit_bias": {"50": -1}}},
    "two choices": {"openai_chat": {"n": 2}, "openai_completions": {"n": 2}, "gemini": config(candidateCount=2)},
    "log probabilities": {
        "openai_chat": {"logprobs": True, "top_logprobs": 2},
        "openai_responses": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        "openai_completions": {"logprobs": 2}, "gemini": config(responseLogprobs=True, logprobs=2),
    },
    "JSON object": {
        "openai_chat": {"response_format": {"type": "json_object"}},
        "openai_responses": {"text": {"format": {"type": "json_object"}}},
        "gemini": config(responseMimeType="application/json"),
    },
    "JSON schema": {
        "openai_chat": {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
        "openai_responses": {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}},
        "anthropic": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        "gemini": config(responseMimeType="application/json", responseJsonSchema=SCHEMA),
    },
    "reasoning effort": {
        "openai_chat": {"reasoning_effort": "high"}, "openai_responses": {"reasoning": {"effort": "high"}},
        "anthropic": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        "gemini": config(thinkingConfig={"thinkingLevel": "HIGH"}),
    },
    "thinking budget": {
        "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "gemini": config(thinkingConfig={"thinkingBudget": 1024}),
    },
    "thinking off": {
        "openai_chat": {"reasoning_effort": "none"}, "openai_responses": {"reasoning": {"effort": "none"}},
        "anthropic": {"thinking": {"type": "disabled"}}, "gemini": config(thinkingConfig={"thinkingBudget": 0}),
    },
    "thinking replayed, signed": {
        "openai_responses": {"input": [
            {"role": "user", "content": "Hi"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "abc"},
            {"role": "assistant", "content": "Yes"}, {"role": "user", "content": "Go"}]},
        "anthropic": {"messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "abc"}, {"type": "text", "text": "Yes"}]},
            {"role": "user", "content": "Go"}]},
        "gemini": {"contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "Yes", "thoughtSignature": "YWJj"}]},
            {"role": "user", "parts": [{"text": "Go"}]}]},
    },
    "refusal replayed": {
        "openai_chat": {"messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
            {"role": "user", "content": "Go"}]},
        "openai_responses": {"input": [
            {"role": "user", "content": "Hi"},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
             "content": [{"type": "refusal", "refusal": "No"}]},
            {"role": "user", "content": "Go"}]},
    },
    "prefill": {
        "openai_chat": {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well"}]},
        "anthropic": {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well"}]},
        "gemini": {"contents": [
            {"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "Well"}]}]},
    },
    "verbosity": {"openai_chat": {"verbosity": "low"}, "openai_responses": {"text": {"verbosity": "low"}}},
    "cache marks": {
        "openai_chat": {"messages": user(
            {"type": "text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "explicit"}})},
        "openai_responses": {"input": [{"role": "user", "content": [
            {"type": "input_text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "explicit"}}]}]},
        "anthropic": {"messages": user({"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}})},
        "gemini": {"cachedContent": "cachedContents/1"},
    },
    "cache key": {"openai_chat": {"prompt_cache_key": "k"}, "openai_responses": {"prompt_cache_key": "k"}},
    "end user": {
        "openai_chat": {"user": "u"}, "openai_responses": {"user": "u"}, "openai_completions": {"user": "u"},
        "anthropic": {"metadata": {"user_id": "u"}},
    },
    "safety identifier": {"openai_chat": {"safety_identifier": "u"}, "openai_responses": {"safety_identifier": "u"}},
    "metadata": {
        "openai_chat": {"metadata": {"a": "b"}}, "openai_responses": {"metadata": {"a": "b"}},
        "gemini": {"labels": {"a": "b"}},
    },
    "service tier": {
        "openai_chat": {"service_tier": "flex"}, "openai_responses": {"service_tier": "flex"},
        "anthropic": {"service_tier": "standard_only"}, "gemini": {"serviceTier": "flex"},
    },
    "store": {"openai_chat": {"store": True}, "openai_responses": {"store": True}, "gemini": {"store": True}},
    "background": {"openai_responses": {"background": True}},
    "conversation": {"openai_responses": {"conversation": "conv_1"}},
    "stored prompt": {"openai_responses": {"prompt": {"id": "pmpt_1"}}},
    "truncation": {"openai_responses": {"truncation": "auto"}},
    "audio output": {
        "openai_chat": {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
        "gemini": config(responseModalities=["AUDIO"]),
    },
    "prediction": {"openai_chat": {"prediction": {"type": "content", "content": "x"}}},
    "safety settings": {
        "gemini": {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]},
    },
    "MCP servers": {
        "openai_responses": {"tools": [{"type": "mcp", "server_label": "x", "server_url": "https://example.com/mcp"}]},
        "anthropic": {"mcp_servers": [{"type": "url", "name": "x", "url": "https://example.com/mcp"}]},
    },
    "insertion (suffix)": {"openai_completions": {"suffix": "the end"}},
    "echo": {"openai_completions": {"echo": True}},
    "several prompts": {"openai_completions": {"prompt": ["Hi", "Ho"]}},
    "tokens for a prompt": {"openai_completions": {"prompt": [1, 2]}},
}  # fmt: skip


BESIDE = {
    # features that are only asked for beside others → those others
    "image detail": "image, inline", "tool, strict": "tools", "tool choice: none": "tools",
    "tool choice: required": "tools", "tool choice: named": "tools", "tool choice: a subset": "tools",
    "no parallel tool calls": "tools", "tool result that is an error": "tool call and result replayed",
    "tool result with an image": "tool call and result replayed",
}  # fmt: skip


def asked(client: str, feature: str = "") -> Json:
    """The body of a request that asks for the feature."""
    return {**BASE[client], **(FEATURES[feature][client] if feature else {})}


def call(client: str, feature: str = "") -> Call:
    """That request, read. Raises Fault."""
    return registry.dialect(client).read(orjson.dumps(asked(client, feature)), PATHS[client], "", {})
