"""The other official libraries against the binary with keys, and what the OpenAI library does with stored responses."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

from tests.kit.binary import Binary, fastanchor

pytestmark = pytest.mark.interop

HELLO: Any = [{"role": "user", "content": "Hello"}]
KEY = "sk-test"
FOREIGN = """
[server]
auth = false

[[channels]]
name = "claude"
provider = "demo"
models = { "m" = "demo-fast" }
options = { dialect = "anthropic" }
"""


Claude = Callable[..., anthropic.Anthropic]
Gemini = Callable[..., genai.Client]


@pytest.fixture
def claude(instance: Binary) -> Iterator[Claude]:
    """Makes clients, and closes them."""
    with ExitStack() as made:
        yield lambda **credential: made.enter_context(
            anthropic.Anthropic(base_url=instance.url, max_retries=0, **credential)
        )


@pytest.fixture
def gemini(instance: Binary) -> Iterator[Gemini]:
    with ExitStack() as made:

        def make(key: str, version: str | None = None) -> genai.Client:
            options = types.HttpOptions(base_url=instance.url, api_version=version)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return made.enter_context(closing(genai.Client(api_key=key, http_options=options)))

        yield make


@pytest.mark.parametrize("credential", [{"api_key": KEY}, {"auth_token": KEY}])
def test_messages_with_either_credential(claude: Claude, credential: dict[str, str]) -> None:
    with claude(**credential).messages.stream(model="demo-fast", max_tokens=99, messages=HELLO) as stream:
        message = stream.get_final_message()
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0


def test_messages_with_the_older_version_and_header(claude: Claude) -> None:
    headers = {"anthropic-version": "2023-06-01", "x-api-key": KEY, "authorization": anthropic.Omit()}
    answer = claude(api_key="unused").messages.create(
        model="demo-fast", max_tokens=9, messages=HELLO, extra_headers=headers
    )
    assert answer.stop_reason == "max_tokens"


def test_an_unknown_key_is_told_in_each_dialect(claude: Claude, gemini: Gemini) -> None:
    with pytest.raises(anthropic.AuthenticationError):
        claude(api_key="sk-wrong").messages.create(model="demo-fast", max_tokens=9, messages=HELLO)
    with pytest.raises(genai_errors.ClientError) as caught:
        gemini("sk-wrong").models.generate_content(model="demo-fast", contents="Hello")
    assert caught.value.status == "UNAUTHENTICATED"


def test_anthropic_models_and_token_counts(claude: Claude) -> None:
    client = claude(api_key=KEY)
    assert "demo-fast" in [model.id for model in client.models.list()]
    counted = client.messages.count_tokens(model="demo-fast", messages=HELLO)
    assert counted.input_tokens > 0


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_gemini_in_each_version(gemini: Gemini, version: str) -> None:
    client = gemini(KEY, version)
    whole = client.models.generate_content(model="demo-fast", contents="Hello")
    parts = list(client.models.generate_content_stream(model="demo-fast", contents="Hello"))
    assert "".join(part.text or "" for part in parts) == whole.text
    embedded = client.models.embed_content(model="demo-fast", contents=["a", "b"])
    assert len(embedded.embeddings or []) == 2
    assert (client.models.count_tokens(model="demo-fast", contents="a b").total_tokens or 0) > 0


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Binary]:
    """An instance whose one channel speaks another language than its clients."""
    with fastanchor(tmp_path_factory.mktemp("foreign"), FOREIGN) as binary:
        yield binary


@pytest.fixture
def gpt(foreign: Binary) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="k", base_url=f"{foreign.url}/v1", max_retries=0) as client:
        yield client


def test_a_conversation_goes_on_by_the_id_of_its_last_response(gpt: openai.OpenAI) -> None:
    with gpt.responses.stream(model="m", input="Hello") as stream:
        first = stream.until_done().get_final_response()
    second = gpt.responses.create(model="m", input="And more", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens  # it has read it all again
    assert gpt.responses.retrieve(second.id).output_text == second.output_text
    gpt.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        gpt.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as caught:
        gpt.responses.create(model="m", input="?", previous_response_id=first.id)
    assert caught.value.param == "previous_response_id"


def test_background_is_refused_where_no_channel_has_it(gpt: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        gpt.responses.create(model="m", input="Hello", background=True)
    assert caught.value.param == "background"


def test_the_store_is_the_owners_alone_on_disk(foreign: Binary, gpt: openai.OpenAI) -> None:
    gpt.responses.create(model="m", input="Hello")
    (found,) = Path(foreign.log_file).parent.rglob("responses.sqlite")
    assert found.stat().st_mode & 0o077 == 0
