"""The official clients take the demo provider for the real one."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types
from pydantic import BaseModel

from fastanchor.providers.demo import Cut, Send, Step, answer
from tests.providers.demo import PROMPT, TEXT

pytestmark = pytest.mark.interop
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
ARGUMENTS = {"city": "lorem", "days": 2}


class Played(httpx2.SyncByteStream):
    """A script's steps as a body, without its waits."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[bytes]:
        for step in self.steps:
            if isinstance(step, Send):
                yield step.data
            elif isinstance(step, Cut):
                raise httpx2.RemoteProtocolError("peer closed connection")


class Provider:
    """A demo provider behind a transport."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.count += 1
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        script = answer(request.method.encode(), request.url.raw_path, headers, request.read(), number=self.count)
        return httpx2.Response(script.status, headers=list(script.headers), stream=Played(script.steps))


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(transport=httpx2.MockTransport(Provider())) as client:
        yield client


@pytest.fixture
def gpt(http: httpx2.Client) -> openai.OpenAI:
    return openai.OpenAI(api_key="k", base_url="http://demo/v1", http_client=http, max_retries=0)


@pytest.fixture
def claude(http: httpx2.Client) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="k", base_url="http://demo", http_client=http, max_retries=0)


@pytest.fixture
def gemini(http: httpx2.Client) -> genai.Client:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return genai.Client(api_key="k", http_options=types.HttpOptions(httpx_client=http, base_url="http://demo"))


class Form(BaseModel):
    name: str
    size: int


# OpenAI chat

FUNCTION = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
USER = [{"role": "user", "content": PROMPT}]


def test_chat(gpt: openai.OpenAI) -> None:
    done = gpt.chat.completions.create(model="demo", messages=USER)  # type: ignore[arg-type]
    assert done.choices[0].message.content == TEXT
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (4, 60)


def test_chat_streams(gpt: openai.OpenAI) -> None:
    with gpt.chat.completions.stream(
        model="demo",
        messages=USER,
        stream_options={"include_usage": True},  # type: ignore[arg-type]
    ) as stream:
        done = stream.get_final_completion()
    assert done.choices[0].message.content == TEXT
    assert done.usage is not None
    assert done.usage.completion_tokens == 60


def test_chat_calls_two_tools_in_a_stream(gpt: openai.OpenAI) -> None:
    other = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}
    with gpt.chat.completions.stream(
        model="demo",
        messages=[{"role": "user", "content": "use the tools"}],
        tools=[FUNCTION, other],  # type: ignore[list-item]
    ) as stream:
        message = stream.get_final_completion().choices[0]
    assert message.finish_reason == "tool_calls"
    found = [(c.function.name, c.function.arguments) for c in message.message.tool_calls or []]
    assert found == [("weather", '{"city":"lorem","days":2}'), ("time", "{}")]


def test_chat_fills_a_form(gpt: openai.OpenAI) -> None:
    done = gpt.chat.completions.parse(model="demo", messages=USER, response_format=Form)  # type: ignore[arg-type]
    assert done.choices[0].message.parsed == Form(name="lorem", size=1)


def test_completions(gpt: openai.OpenAI) -> None:
    done = gpt.completions.create(model="demo", prompt=PROMPT, max_tokens=100)
    assert done.choices[0].text == TEXT
    chunks = gpt.completions.create(model="demo", prompt=PROMPT, max_tokens=100, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == TEXT


def test_embeddings(gpt: openai.OpenAI) -> None:
    done = gpt.embeddings.create(model="demo-embed", input=["a", "b"])  # asks for base64
    assert [len(item.embedding) for item in done.data] == [64, 64]
    floats = gpt.embeddings.create(model="demo-embed", input=["a", "b"], encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(done.data[0].embedding)


def test_models(gpt: openai.OpenAI) -> None:
    assert "demo" in [model.id for model in gpt.models.list()]
    assert gpt.models.retrieve("demo").owned_by == "fastanchor"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_openai_errors(gpt: openai.OpenAI, status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"answers {status}, as asked"):
        gpt.chat.completions.create(model=f"demo-fail{status}", messages=USER)  # type: ignore[arg-type]


def test_an_error_in_band_raises_in_openai(gpt: openai.OpenAI) -> None:
    chunks = gpt.chat.completions.create(
        model="demo-errorinband3",
        messages=USER,
        stream=True,  # type: ignore[arg-type]
    )
    with pytest.raises(openai.APIError, match="failed in mid-stream"):
        list(chunks)


def test_a_cut_raises_in_openai(gpt: openai.OpenAI) -> None:
    chunks = gpt.chat.completions.create(model="demo-cut3", messages=USER, stream=True)  # type: ignore[arg-type]
    with pytest.raises(openai.APIConnectionError):
        list(chunks)


# OpenAI Responses


def test_responses(gpt: openai.OpenAI) -> None:
    done = gpt.responses.create(model="demo", input=PROMPT)
    assert (done.output_text, done.status) == (TEXT, "completed")
    assert done.usage is not None
    assert (done.usage.input_tokens, done.usage.output_tokens) == (4, 60)


def test_responses_stream(gpt: openai.OpenAI) -> None:
    with gpt.responses.stream(model="demo", input=PROMPT) as stream:
        events = list(stream)
        done = stream.get_final_response()
    assert done.output_text == TEXT
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_responses_that_are_incomplete(gpt: openai.OpenAI) -> None:
    done = gpt.responses.create(model="demo", input=PROMPT, max_output_tokens=20)
    assert done.status == "incomplete"
    assert done.incomplete_details is not None
    assert done.incomplete_details.reason == "max_output_tokens"


def test_responses_call_a_tool_in_a_stream(gpt: openai.OpenAI) -> None:
    tool = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}
    with gpt.responses.stream(
        model="demo",
        input=PROMPT,
        tools=[tool],
        tool_choice="required",  # type: ignore[list-item]
    ) as stream:
        done = stream.get_final_response()
    (item,) = done.output
    assert item.type == "function_call"
    assert (item.name, item.arguments) == ("weather", '{"city":"lorem","days":2}')


def test_responses_fill_a_form(gpt: openai.OpenAI) -> None:
    assert gpt.responses.parse(model="demo", input=PROMPT, text_format=Form).output_parsed == Form(name="lorem", size=1)


def test_an_error_in_band_raises_in_responses(gpt: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError, match="failed in mid-stream"):
        list(gpt.responses.create(model="demo-errorinband3", input=PROMPT, stream=True))


# Anthropic


def test_messages(claude: anthropic.Anthropic) -> None:
    done = claude.messages.create(model="demo", max_tokens=100, messages=USER)  # type: ignore[arg-type]
    assert [block.text for block in done.content if block.type == "text"] == [TEXT]
    assert (done.stop_reason, done.usage.input_tokens, done.usage.output_tokens) == ("end_turn", 4, 60)


def test_messages_stream(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model="demo", max_tokens=9, messages=USER) as stream:  # type: ignore[arg-type]
        done = stream.get_final_message()
        text = stream.get_final_text()
    assert TEXT.startswith(text)
    assert (done.stop_reason, done.usage.input_tokens, done.usage.output_tokens) == ("max_tokens", 4, 9)


def test_messages_call_two_tools_in_a_stream(claude: anthropic.Anthropic) -> None:
    tools = [{"name": name, "input_schema": WEATHER} for name in ("weather", "climate")]
    with claude.messages.stream(
        model="demo",
        max_tokens=100,
        messages=[{"role": "user", "content": "Use the tools!"}],
        tools=tools,  # type: ignore[arg-type]
    ) as stream:
        done = stream.get_final_message()
    assert done.stop_reason == "tool_use"
    found = [(block.name, block.input) for block in done.content if block.type == "tool_use"]
    assert found == [("weather", ARGUMENTS), ("climate", ARGUMENTS)]


def test_messages_are_counted(claude: anthropic.Anthropic) -> None:
    assert claude.messages.count_tokens(model="demo", messages=USER).input_tokens == 4  # type: ignore[arg-type]


def test_anthropic_models(claude: anthropic.Anthropic) -> None:
    assert "demo" in [model.id for model in claude.models.list()]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ],
)
def test_anthropic_errors(claude: anthropic.Anthropic, status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"answers {status}, as asked"):
        claude.messages.create(model=f"demo-fail{status}", max_tokens=9, messages=USER)  # type: ignore[arg-type]


def test_an_error_in_band_raises_in_anthropic(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(
            claude.messages.create(
                model="demo-errorinband3",
                max_tokens=99,
                messages=USER,
                stream=True,  # type: ignore[arg-type]
            )
        )


# Gemini


def test_generate_content(gemini: genai.Client) -> None:
    done = gemini.models.generate_content(model="demo", contents=PROMPT)
    assert done.text == TEXT
    assert done.usage_metadata is not None
    assert (done.usage_metadata.prompt_token_count, done.usage_metadata.candidates_token_count) == (4, 60)


def test_generate_content_streams(gemini: genai.Client) -> None:
    chunks = list(gemini.models.generate_content_stream(model="demo", contents=PROMPT))
    assert "".join(chunk.text or "" for chunk in chunks) == TEXT
    (last,) = chunks[-1].candidates or []
    assert last.finish_reason == types.FinishReason.STOP


def test_generate_content_calls_two_tools_in_a_stream(gemini: genai.Client) -> None:
    declared = [
        types.FunctionDeclaration(name=name, parameters_json_schema=WEATHER, description=name)
        for name in ("weather", "climate")
    ]
    chunks = gemini.models.generate_content_stream(
        model="demo",
        contents="use the tools",
        config=types.GenerateContentConfig(tools=[types.Tool(function_declarations=declared)]),
    )
    found = [(call.name, call.args) for chunk in chunks for call in chunk.function_calls or []]
    assert found == [("weather", ARGUMENTS), ("climate", ARGUMENTS)]


def test_generate_content_fills_a_form(gemini: genai.Client) -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Form)
    done = gemini.models.generate_content(model="demo", contents=PROMPT, config=config)
    assert done.parsed == Form(name="lorem", size=1)


def test_embed_content(gemini: genai.Client) -> None:
    done = gemini.models.embed_content(model="demo-embed", contents=["a", "b"])
    assert [len(item.values or []) for item in done.embeddings or []] == [64, 64]


def test_gemini_tokens_are_counted(gemini: genai.Client) -> None:
    assert gemini.models.count_tokens(model="demo", contents=PROMPT).total_tokens == 4


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, genai_errors.ClientError), (429, genai_errors.ClientError), (503, genai_errors.ServerError)],
)
def test_gemini_errors(gemini: genai.Client, status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"answers {status}, as asked"):
        gemini.models.generate_content(model=f"demo-fail{status}", contents=PROMPT)


def test_an_error_in_band_raises_in_gemini(gemini: genai.Client) -> None:
    with pytest.raises(genai_errors.ServerError, match="failed in mid-stream"):
        list(gemini.models.generate_content_stream(model="demo-errorinband3", contents=PROMPT))
