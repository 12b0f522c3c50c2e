"""google-genai as the judge: its own client reads bytes served by an in-memory transport."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
from google import genai
from google.genai import types

MODEL = "gemini-2.5-flash"


def client(handler: Callable[[httpx2.Request], httpx2.Response], version: str | None = None) -> genai.Client:
    """A client whose requests go to `handler`."""
    http = httpx2.Client(transport=httpx2.MockTransport(handler))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return genai.Client(
            api_key="k", http_options=types.HttpOptions(httpx_client=http, api_version=version, base_url="http://gw")
        )


class Pieces(httpx2.SyncByteStream):
    """A body in pieces of a given size."""

    def __init__(self, body: bytes, size: int) -> None:
        self._body, self._size = body, size

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self._body), self._size):
            yield self._body[at : at + self._size]


def read_stream(body: bytes, piece: int = 37) -> list[types.GenerateContentResponse]:
    """The chunks that the SDK makes of a stream. Raises its own errors."""

    def handler(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Pieces(body, piece))

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "FAKE_ENUM|.*NEW_ENUM|.*UNKNOWN_ENUM")  # in a recording
        return list(client(handler).models.generate_content_stream(model=MODEL, contents="hi"))


def read_answer(body: bytes) -> types.GenerateContentResponse:
    def handler(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=body)

    return client(handler).models.generate_content(model=MODEL, contents="hi")


def read_error(status: int, body: bytes) -> genai.errors.APIError:
    """The error that the SDK raises for an answer."""

    def handler(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers={"content-type": "application/json"}, content=body)

    try:
        client(handler).models.generate_content(model=MODEL, contents="hi")
    except genai.errors.APIError as error:
        return error
    raise AssertionError("the SDK took it for a success")


def summary(chunks: list[types.GenerateContentResponse]) -> dict[str, Any]:
    """What a user of the SDK gets out of a stream, by candidate."""
    told: dict[str, Any] = {}
    for chunk in chunks:
        for candidate in chunk.candidates or []:
            one = told.setdefault(candidate.index or 0, {"text": "", "thought": "", "calls": [], "finish": None})
            parts = (candidate.content.parts if candidate.content else None) or []
            for part in parts:
                if part.text:
                    one["thought" if part.thought else "text"] += part.text
                if part.function_call and part.function_call.name:
                    one["calls"].append((part.function_call.name, part.function_call.args, part.thought_signature))
            if candidate.finish_reason:
                one["finish"] = candidate.finish_reason.value
    return told
