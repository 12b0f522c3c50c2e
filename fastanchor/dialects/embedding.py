"""Embeddings between dialects: one plain request, one plain answer, no events.

A dialect that has embeddings offers the four methods of `EmbeddingDialect`; `dialects.relay` puts two of them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from fastanchor.core.call import Call
from fastanchor.dialects.contract import Answering, Target, Written

Encoding: TypeAlias = Literal["float", "base64"]


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to embed. `dimensions` is None for the model's own; `encoding` is how the client wants the numbers."""

    inputs: tuple[str, ...]
    dimensions: int | None = None
    encoding: Encoding = "float"
    dropped: tuple[str, ...] = ()  # the client's fields that have no place here
    task: str = ""  # what the vectors are for, in Gemini's words (RETRIEVAL_QUERY…)
    title: str = ""


@dataclass(frozen=True, slots=True)
class EmbeddingAnswer:
    """One vector per input, in order. `tokens` counts all inputs, None when the provider does not say."""

    vectors: tuple[tuple[float, ...], ...]
    tokens: int | None = None


@runtime_checkable
class EmbeddingDialect(Protocol):
    """The part of a dialect that embeds."""

    def parse_embedding(self, call: Call) -> EmbeddingRequest:
        """The request, format-free. Raises Fault that names the field."""

    def write_embedding(self, request: EmbeddingRequest, target: Target) -> Written:
        """The request in this language."""

    def read_embedding(self, body: bytes) -> EmbeddingAnswer:
        """The provider's answer. Raises Fault when it cannot be read."""

    def write_embedding_answer(self, answer: EmbeddingAnswer, answering: Answering) -> bytes:
        """The answer in this language."""
