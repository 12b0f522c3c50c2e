"""The OpenAI SDK as the judge: its stream helper reads our bytes, and its models check every event's fields."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import orjson
from openai.types.responses import ResponseStreamEvent
from openai.types.responses import response as sdk
from pydantic import TypeAdapter

from fastanchor._speedups import sse
from fastanchor.core.call import Call
from fastanchor.core.events import Event
from fastanchor.dialects.contract import Answering
from fastanchor.dialects.openai_responses import DIALECT

REQUEST = b'{"model":"m","input":"hi"}'
_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def read(document: dict[str, Any] | bytes) -> Call:
    """The call of a request."""
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return DIALECT.read(body, "/v1/responses", "", {})


def answering(request: bytes = REQUEST, *, parsed: bool = False) -> Answering:
    call = read(request)
    if parsed:
        call.prompt = DIALECT.parse(call)
    return Answering(call, "m", "abc", 1_700_000_000)


def encoded(events: list[Event], request: bytes = REQUEST, *, parsed: bool = False) -> bytes:
    """The stream of these events, fed one by one."""
    encoder = DIALECT.encoder(answering(request, parsed=parsed))
    return b"".join(encoder.feed([event]) for event in events)


def decoded(body: bytes) -> list[Event]:
    decoder = DIALECT.decoder()
    return decoder.feed(body) + decoder.end()


def frames(body: bytes) -> list[dict[str, Any]]:
    """The data of every event."""
    return [orjson.loads(event.data) for event in sse.Decoder().feed(body)]


def _client(body: bytes, kind: str, status: int = 200) -> openai.OpenAI:
    def handler(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers={"content-type": kind}, content=body)

    http = httpx2.Client(transport=httpx2.MockTransport(handler))
    return openai.OpenAI(api_key="k", base_url="http://gateway/v1", http_client=http, max_retries=0)


def read_stream(body: bytes) -> sdk.Response:
    """The response that the stream helper ends with. Raises the SDK's own errors."""
    with _client(body, "text/event-stream").responses.stream(model="m", input="hi") as stream:
        for _ in stream:
            pass
        return stream.get_final_response()


def read_events(body: bytes) -> list[Any]:
    """The events of a plain stream. Raises the SDK's own errors."""
    return list(_client(body, "text/event-stream").responses.create(model="m", input="hi", stream=True))


def read_answer(body: bytes) -> sdk.Response:
    return _client(body, "application/json").responses.create(model="m", input="hi")


def read_error(status: int, body: bytes) -> openai.APIStatusError:
    try:
        _client(body, "application/json", status).responses.create(model="m", input="hi")
    except openai.APIStatusError as error:
        return error
    raise AssertionError("the SDK raised nothing")


def check(body: bytes) -> list[dict[str, Any]]:
    """The frames, after the whole life of the stream has been checked against the SDK's types and OpenAI's order."""
    told = frames(body)
    assert [frame["sequence_number"] for frame in told] == list(range(len(told)))
    for event, frame in zip(sse.Decoder().feed(body), told, strict=True):
        assert event.event.decode() == frame["type"]
        if frame["type"] != "error":  # on the wire it is nested, in the SDK's types it is flat
            _EVENT.validate_python(frame)
    kinds = [frame["type"] for frame in told]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] in ("response.completed", "response.incomplete", "response.failed")
    if kinds[-1] != "response.failed":
        _check_items(told)
    return told


def _check_items(told: list[dict[str, Any]]) -> None:
    """Every item is added once, done once, in the output once, and keeps its id and place."""
    added = {f["output_index"]: f["item"] for f in told if f["type"] == "response.output_item.added"}
    done = {f["output_index"]: f["item"] for f in told if f["type"] == "response.output_item.done"}
    assert list(added) == list(range(len(added)))
    assert [done[index] for index in sorted(done)] == told[-1]["response"]["output"]
    assert [(i["id"], i["type"]) for i in added.values()] == [(i["id"], i["type"]) for _, i in sorted(done.items())]
    open_items: set[int] = set()
    for frame in told:
        if frame["type"] == "response.output_item.added":
            open_items.add(frame["output_index"])
        elif frame["type"] == "response.output_item.done":
            open_items.remove(frame["output_index"])
        elif "output_index" in frame:
            assert frame["output_index"] in open_items
            assert frame["item_id"] == added[frame["output_index"]]["id"]
