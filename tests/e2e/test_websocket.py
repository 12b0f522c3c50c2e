"""WebSockets of a whole instance, driven by the `websockets` client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.kit.binary import Binary

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager:DeprecationWarning"),  # by openai
]

ASK = {"type": "inference", "model": "demo-fast", "messages": [{"role": "user", "content": "Hello!"}]}


@contextmanager
def socket(instance: Binary, key: str | None = "sk-test", **options: Any) -> Iterator[ClientConnection]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    url = f"ws://127.0.0.1:{instance.port}/v1/ws"
    with connect(url, additional_headers=headers, proxy=None, **options) as one:
        yield one


def say(one: ClientConnection, **message: object) -> None:
    one.send(json.dumps(message))


def hear(one: ClientConnection) -> dict[str, Any]:
    heard: dict[str, Any] = json.loads(one.recv(timeout=20))
    return heard


def until(one: ClientConnection, kind: str) -> list[dict[str, Any]]:
    heard = [hear(one)]
    while heard[-1]["type"] != kind:
        heard.append(hear(one))
    return heard


def test_the_documents_own_example(instance: Binary) -> None:
    with socket(instance, key=None) as one:
        say(one, type="auth", api_key="sk-test")
        say(one, **ASK, stream=True)
        heard = until(one, "done")
    kinds = [message["type"] for message in heard]
    assert kinds == ["authenticated", *["token"] * (len(kinds) - 2), "done"]
    assert "".join(message.get("content", "") for message in heard)
    assert heard[-1]["usage"]["total_tokens"] > 0


def test_whole_answers_and_streams_side_by_side(instance: Binary) -> None:
    with socket(instance, compression="deflate") as one:
        say(one, **ASK, id="whole", stream=False)
        say(one, **ASK, id="stream", stream=True)
        done = [message for _ in range(2) for message in until(one, "done") if message["type"] == "done"]
        assert one.ping().wait(5)
    assert {message["id"] for message in done} == {"whole", "stream"}


def test_a_large_message_in_fragments(instance: Binary) -> None:
    text = json.dumps({**ASK, "messages": [{"role": "user", "content": "long " * 150_000}]})
    with socket(instance) as one:
        one.send(text[at : at + 10_000] for at in range(0, len(text), 10_000))
        assert until(one, "done")


def test_a_message_over_the_limit_closes(instance: Binary) -> None:
    with socket(instance) as one:
        one.send("x" * (1024 * 1024 + 1))
        with pytest.raises(ConnectionClosed) as closed:
            one.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_a_wrong_key_is_refused_at_the_handshake(instance: Binary) -> None:
    with pytest.raises(InvalidStatus) as refused, socket(instance, "sk-wrong"):
        pass
    assert refused.value.response.status_code == 401


def test_a_path_without_sockets_says_426(instance: Binary) -> None:
    url = f"ws://127.0.0.1:{instance.port}/v1/chat/completions"
    with pytest.raises(InvalidStatus) as refused, connect(url, proxy=None):
        pass
    assert refused.value.response.status_code == 426


def test_the_openai_client_speaks_responses(instance: Binary) -> None:
    with openai.OpenAI(api_key="sk-test", base_url=f"{instance.url}/v1", max_retries=0) as client:
        with client.responses.connect() as one:
            kinds = []
            for turn in ("Hello", "And then?"):
                one.response.create(model="demo-fast", input=turn, store=False)
                for event in one:
                    kinds.append(event.type)
                    if event.type in ("response.completed", "error"):
                        break
    assert kinds.count("response.created") == kinds.count("response.completed") == 2
    assert kinds.count("response.output_text.delta") > 2


def test_the_openai_client_is_told_of_errors(instance: Binary) -> None:
    with openai.OpenAI(api_key="sk-test", base_url=f"{instance.url}/v1", max_retries=0) as client:
        with client.responses.connect() as one:
            one.response.create(model="no-such-model", input="Hello")
            event = one.recv()
    assert event.type == "error"
    assert event.error.code == "model_not_found"
