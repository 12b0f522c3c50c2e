"""LangChain and LlamaIndex against a gateway: a stream of text, and one in which a tool is called.

`python chains.py BASE_URL MODEL…` writes one line of JSON per case: `{name, model, text, tools}`.
"""

from __future__ import annotations

import json
import sys

ASK = "Hello"
USE = "What is the weather? use the tool"


def weather(city: str) -> str:
    """Tells the weather."""
    return city


def langchain(chat):
    text = "".join(_text(chunk.content) for chunk in chat.stream(ASK))
    whole = None
    for chunk in chat.bind_tools([weather]).stream(USE):
        whole = chunk if whole is None else whole + chunk
    return text, [[call["name"], call["args"]] for call in whole.tool_calls]


def _text(content):
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def chat_openai(base_url, model):
    from langchain_openai import ChatOpenAI

    return langchain(ChatOpenAI(base_url=base_url + "/v1", api_key="k", model=model, max_retries=0))


def chat_openai_responses(base_url, model):
    from langchain_openai import ChatOpenAI

    made = ChatOpenAI(base_url=base_url + "/v1", api_key="k", model=model, max_retries=0, use_responses_api=True)
    return langchain(made)


def chat_anthropic(base_url, model):
    from langchain_anthropic import ChatAnthropic

    return langchain(ChatAnthropic(base_url=base_url, api_key="k", model=model, max_retries=0, max_tokens=512))


def openai_like(base_url, model):
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.core.tools import FunctionTool
    from llama_index.llms.openai_like import OpenAILike

    llm = OpenAILike(
        model=model, api_base=base_url + "/v1", api_key="k", max_retries=0,
        is_chat_model=True, is_function_calling_model=True,
    )  # fmt: skip
    text = "".join(part.delta or "" for part in llm.stream_chat([ChatMessage(role="user", content=ASK)]))
    for part in llm.stream_chat_with_tools([FunctionTool.from_defaults(weather)], user_msg=USE):
        last = part
    calls = llm.get_tool_calls_from_response(last, error_on_no_tool_call=False)
    return text, [[call.tool_name, call.tool_kwargs] for call in calls]


def main():
    base_url, *models = sys.argv[1:]
    for case in (chat_openai, chat_openai_responses, chat_anthropic, openai_like):
        for model in models:
            text, tools = case(base_url, model)
            print(json.dumps({"name": case.__name__, "model": model, "text": text, "tools": tools}), flush=True)


if __name__ == "__main__":
    main()
