"""The official OpenAI SDK, unmodified, sync and async, against the binary on the demo provider."""

from __future__ import annotations

import openai
import pytest

from tests.kit.binary import Binary

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def client(instance: Binary, key: str = "sk-test") -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"{instance.url}/v1", max_retries=0)


def test_chat(instance: Binary) -> None:
    answer = client(instance).chat.completions.create(model="demo-fast", messages=HELLO)  # type: ignore[arg-type]
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_stream_equals_the_plain_answer(instance: Binary) -> None:
    plain = client(instance).chat.completions.create(model="demo-fast", messages=HELLO)  # type: ignore[arg-type]
    stream = client(instance).chat.completions.create(model="demo-fast", messages=HELLO, stream=True)  # type: ignore[arg-type]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == plain.choices[0].message.content


@pytest.mark.parametrize("asked", [True, False])
def test_usage_chunk_comes_only_to_those_who_asked(instance: Binary, asked: bool) -> None:
    extra = {"stream_options": {"include_usage": True}} if asked else {}
    stream = client(instance).chat.completions.create(model="demo-fast", messages=HELLO, stream=True, **extra)  # type: ignore[call-overload]
    usages = [chunk.usage for chunk in stream if chunk.usage]
    assert len(usages) == (1 if asked else 0)


def test_tools_in_the_answer(instance: Binary) -> None:
    with client(instance).chat.completions.stream(  # type: ignore[call-overload]
        model="demo-fast", messages=HELLO, tools=[WEATHER], tool_choice="required"
    ) as stream:
        final = stream.get_final_completion()
    call = final.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert final.choices[0].finish_reason == "tool_calls"


def test_raw_response_carries_the_ids(instance: Binary) -> None:
    raw = client(instance).chat.completions.with_raw_response.create(model="demo-fast", messages=HELLO)  # type: ignore[arg-type]
    assert raw.headers["x-request-id"] == raw.headers["request-id"]
    assert raw.headers["x-fastanchor-channel"] == "demo"
    assert raw.parse().choices[0].message.content


@pytest.mark.parametrize(
    ("model", "key", "error"),
    [
        ("demo-fast", "sk-wrong", openai.AuthenticationError),
        ("demo-fast", "sk-trainer", openai.PermissionDeniedError),
        ("demo", "sk-narrow", openai.PermissionDeniedError),
        ("nothing", "sk-test", openai.NotFoundError),
        ("demo-fail400", "sk-test", openai.BadRequestError),
        ("demo-fail429r1", "sk-test", openai.RateLimitError),
        ("demo-fail500", "sk-test", openai.InternalServerError),
    ],
)
def test_each_error_has_its_class(instance: Binary, model: str, key: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        client(instance, key).chat.completions.create(model=model, messages=HELLO)  # type: ignore[arg-type]


def test_cut_stream_raises(instance: Binary) -> None:
    stream = client(instance).chat.completions.create(model="demo-fast-cut5", messages=HELLO, stream=True)  # type: ignore[arg-type]
    with pytest.raises((openai.APIError, openai.APIConnectionError)):
        list(stream)


def test_models(instance: Binary) -> None:
    names = [model.id for model in client(instance).models.list()]
    assert "demo-fast" in names
    assert client(instance).models.retrieve("demo-fast").id == "demo-fast"
    with pytest.raises(openai.NotFoundError):
        client(instance).models.retrieve("nothing")


# the SDK leaves its own async generators to the collector when a stream ends at [DONE]
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_async_stream(instance: Binary) -> None:
    async with openai.AsyncOpenAI(api_key="sk-test", base_url=f"{instance.url}/v1", max_retries=0) as asynchronous:
        stream = await asynchronous.chat.completions.create(model="demo-fast", messages=HELLO, stream=True)  # type: ignore[arg-type]
        text = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
    assert len(text) > 5


async def test_async_chat(instance: Binary) -> None:
    async with openai.AsyncOpenAI(api_key="sk-test", base_url=f"{instance.url}/v1", max_retries=0) as asynchronous:
        answer = await asynchronous.chat.completions.create(model="demo-fast", messages=HELLO)  # type: ignore[arg-type]
    assert answer.choices[0].message.content
