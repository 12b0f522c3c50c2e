"""The shape of a GenerateContentResponse, as far as it is read. Source: google-genai 3.3 `types.py`, reference §1.5.

Reading is lax as proto3 JSON is: int64 may come as strings, members may be missing or null, unknown ones are passed
over. What must keep its bytes (arguments, parts of hosted tools, citations) is `msgspec.Raw`.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

NONE = Raw(b"")


class Modality(Struct, rename="camel"):
    modality: str | None = None
    token_count: int | None = None


class UsageMetadata(Struct, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    prompt_tokens_details: list[Modality] | None = None
    candidates_tokens_details: list[Modality] | None = None


class PartialArg(Struct, rename="camel"):
    """One step of a call whose arguments are streamed (Vertex `streamFunctionCallArguments`)."""

    json_path: str | None = None
    string_value: str | None = None
    number_value: Raw = NONE
    bool_value: bool | None = None
    null_value: Raw = NONE
    will_continue: bool | None = None


class FunctionCall(Struct, rename="camel"):
    id: str | None = None
    name: str | None = None
    args: Raw = NONE
    partial_args: list[PartialArg] | None = None
    will_continue: bool | None = None


class Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None


class Content(Struct):
    parts: list[Raw] | None = None


class TokenScore(Struct, rename="camel"):
    token: str | None = None
    log_probability: float | None = None


class TopCandidates(Struct):
    candidates: list[TokenScore] | None = None


class LogprobsResult(Struct, rename="camel"):
    chosen_candidates: list[TokenScore] | None = None
    top_candidates: list[TopCandidates] | None = None


class Grounding(Struct, rename="camel"):
    web_search_queries: list[str] | None = None


class Candidate(Struct, rename="camel"):
    index: int | None = None
    content: Content | None = None
    finish_reason: str | None = None
    citation_metadata: Raw = NONE
    grounding_metadata: Raw = NONE
    url_context_metadata: Raw = NONE
    logprobs_result: LogprobsResult | None = None


class PromptFeedback(Struct, rename="camel"):
    block_reason: str | None = None


class Answer(Struct, rename="camel"):
    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: UsageMetadata | None = None
    model_version: str | None = None
    response_id: str | None = None
    create_time: str | None = None
    error: Raw = NONE


class Glance(Struct, rename="camel"):
    """What an observer must know of one document."""

    candidates: list[GlanceCandidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: UsageMetadata | None = None
    error: Raw = NONE


class GlanceCandidate(Struct, rename="camel"):
    index: int | None = None
    content: Content | None = None
    finish_reason: str | None = None


_answers = msgspec.json.Decoder(Answer, strict=False)
_glances = msgspec.json.Decoder(Glance, strict=False)
_parts = msgspec.json.Decoder(Part, strict=False)
_groundings = msgspec.json.Decoder(Grounding, strict=False)

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes that are not what they should be (ValidationError is a DecodeError)."""


def answer(document: bytes) -> Answer:
    if not document.isascii():
        document.decode()  # what stays raw is not looked at below, and has to be text too
    return _answers.decode(document)


def glance(document: bytes) -> Glance:
    return _glances.decode(document)


def part(raw: Raw) -> Part:
    return _parts.decode(raw)


def searches(raw: Raw) -> int:
    """How many web searches a groundingMetadata names; 0 when it cannot be read."""
    try:
        return len(_groundings.decode(raw).web_search_queries or ())
    except UNREADABLE:
        return 0


def given(raw: Raw) -> bytes:
    """The bytes of a member, or b"" when it is missing or null."""
    data = bytes(raw)
    return b"" if data == b"null" else data
