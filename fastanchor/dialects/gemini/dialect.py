"""The Gemini dialect: its parts, put together as `contract.Dialect` asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastanchor.core.call import Call
from fastanchor.core.events import Event
from fastanchor.core.faults import Fault
from fastanchor.core.prompt import Prompt
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import NO_QUIRKS, Answering, Target, Written
from fastanchor.dialects.embedding import EmbeddingAnswer, EmbeddingRequest
from fastanchor.dialects.gemini import edit, embed, faults, observe
from fastanchor.dialects.gemini.decode import GeminiDecoder
from fastanchor.dialects.gemini.encode import GeminiEncoder, whole_answer
from fastanchor.dialects.gemini.observe import GeminiObserver
from fastanchor.dialects.gemini.parse import parse
from fastanchor.dialects.gemini.read import count_tokens_answer, read
from fastanchor.dialects.gemini.write import write


class Gemini:
    """Stateless; see `contract.Dialect` and `embedding.EmbeddingDialect`."""

    name = "gemini"
    keep_alive = b""  # google-genai reads any line but `data: ` as JSON
    words: Mapping[str, str] = {
        "messages": "contents", "n": "generationConfig.candidateCount", "stop": "generationConfig.stopSequences",
        "logprobs": "generationConfig.responseLogprobs", "top_logprobs": "generationConfig.logprobs",
        "response_format": "generationConfig.responseMimeType", "reasoning": "generationConfig.thinkingConfig",
        "temperature": "generationConfig.temperature", "top_p": "generationConfig.topP",
        "top_k": "generationConfig.topK", "seed": "generationConfig.seed",
        "frequency_penalty": "generationConfig.frequencyPenalty",
        "presence_penalty": "generationConfig.presencePenalty", "service_tier": "serviceTier",
        "tool_choice": "toolConfig.functionCallingConfig", "task": "taskType",
    }  # fmt: skip

    def read(self, body: bytes, path: str, query: str, headers: Mapping[str, str]) -> Call:
        return read(body, path, query)

    def parse(self, call: Call) -> Prompt:
        return parse(call)

    def write(self, prompt: Prompt, target: Target) -> Written:
        return write(prompt, target)

    def edit(self, call: Call, model: str, quirks: frozenset[str] = NO_QUIRKS) -> bytes:
        return edit.edit(call, model)

    def stream_type(self, call: Call) -> bytes:
        return b"text/event-stream" if call.options.get("framing") == "sse" else b"application/json; charset=utf-8"

    def observer(self, call: Call) -> GeminiObserver:
        return GeminiObserver()

    def decoder(self) -> GeminiDecoder:
        return GeminiDecoder()

    def encoder(self, answering: Answering) -> GeminiEncoder:
        return GeminiEncoder(answering)

    def read_answer(self, body: bytes) -> list[Event]:
        decoder = GeminiDecoder()
        return decoder.feed(body) + decoder.end()

    def write_answer(self, events: Iterable[Event], answering: Answering) -> bytes:
        return whole_answer(events, answering)

    def usage_of(self, body: bytes) -> Usage:
        return observe.usage_of(body)

    def count_tokens_answer(self, call: Call) -> bytes:
        """The answer to `countTokens` where no provider can be asked."""
        return count_tokens_answer(call)

    def parse_embedding(self, call: Call) -> EmbeddingRequest:
        return embed.parse(call)

    def write_embedding(self, request: EmbeddingRequest, target: Target) -> Written:
        return embed.write(request, target)

    def read_embedding(self, body: bytes) -> EmbeddingAnswer:
        return embed.read_answer(body)

    def write_embedding_answer(self, answer: EmbeddingAnswer, answering: Answering) -> bytes:
        return embed.write_answer(answer, answering)

    def fault(self, fault: Fault, request_id: str) -> bytes:
        return faults.error_body(fault, request_id)

    def fault_event(self, fault: Fault, request_id: str) -> bytes:
        """As an event; in a stream that is a JSON array the client's parser fails on it, as it should."""
        return b"data: " + faults.error_line(fault, request_id) + b"\r\n\r\n"
