"""Gemini's words for what the hub calls otherwise: stop reasons, token counts, token scores (reference §2.5, §2.6)."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from fastanchor.core.events import Stop
from fastanchor.core.usage import Usage
from fastanchor.dialects.gemini.answers import UNREADABLE, LogprobsResult, Modality, TokenScore, UsageMetadata

STOPS: dict[str, Stop] = {
    "STOP": Stop.END,
    "MAX_TOKENS": Stop.MAX_TOKENS,
    "SAFETY": Stop.CONTENT_FILTER,
    "RECITATION": Stop.CONTENT_FILTER,
    "BLOCKLIST": Stop.CONTENT_FILTER,
    "PROHIBITED_CONTENT": Stop.CONTENT_FILTER,
    "SPII": Stop.CONTENT_FILTER,
    "MODEL_ARMOR": Stop.CONTENT_FILTER,
    "IMAGE_SAFETY": Stop.CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": Stop.CONTENT_FILTER,
    "IMAGE_RECITATION": Stop.CONTENT_FILTER,
    "CONTINUATION": Stop.PAUSE,
}
"""Every other reason, known or new, is Stop.UNKNOWN: it ends the choice and is never taken for a plain end."""

BROKEN = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"})
"""The model wrote a call that the provider could not read: without any content there is no answer at all."""

_LIMIT = 2**53

UNSPECIFIED = ("", "FINISH_REASON_UNSPECIFIED")

REASONS: dict[Stop, str] = {
    Stop.END: "STOP",
    Stop.STOP_SEQUENCE: "STOP",
    Stop.TOOL_CALLS: "STOP",  # the parts tell
    Stop.MAX_TOKENS: "MAX_TOKENS",
    Stop.CONTEXT_WINDOW: "MAX_TOKENS",
    Stop.CONTENT_FILTER: "SAFETY",
    Stop.REFUSAL: "SAFETY",
    Stop.PAUSE: "CONTINUATION",
    Stop.UNKNOWN: "OTHER",
}


def usage_in(meta: UsageMetadata) -> Usage:
    """Prompt counts include cached tokens but not what tools read; candidates exclude thoughts."""
    prompt, written = meta.prompt_token_count, meta.candidates_token_count
    known = prompt is not None and 0 <= prompt < _LIMIT
    thoughts = _count(meta.thoughts_token_count)
    return Usage(
        input=_count(prompt) + _count(meta.tool_use_prompt_token_count) if known else None,
        output=None if written is None and meta.thoughts_token_count is None else _count(written) + thoughts,
        cache_read=_count(meta.cached_content_token_count),
        reasoning=thoughts,
        audio_input=_audio(meta.prompt_tokens_details),
        audio_output=_audio(meta.candidates_tokens_details),
    )


def usage_out(usage: Usage) -> dict[str, Any]:
    """A usageMetadata; counters that are zero are left out, as proto3 JSON does."""
    prompt, output = usage.input or 0, usage.output or 0
    thoughts = min(usage.reasoning, output)
    counts: dict[str, Any] = {"promptTokenCount": prompt}
    if output > thoughts:
        counts["candidatesTokenCount"] = output - thoughts
    counts["totalTokenCount"] = prompt + output
    if usage.cache_read:
        counts["cachedContentTokenCount"] = usage.cache_read
    if thoughts:
        counts["thoughtsTokenCount"] = thoughts
    if usage.audio_input:
        counts["promptTokensDetails"] = _modalities(prompt, usage.audio_input)
    if usage.audio_output:
        counts["candidatesTokensDetails"] = _modalities(output - thoughts, usage.audio_output)
    return counts


def _count(told: int | None) -> int:
    """A count that can be one."""
    return told if told is not None and 0 < told < _LIMIT else 0


def _audio(details: list[Modality] | None) -> int:
    tokens = 0
    for row in details or ():
        if row.modality == "AUDIO":
            tokens += _count(row.token_count)
    return tokens


def _modalities(total: int, audio: int) -> list[dict[str, Any]]:
    rows = [{"modality": "TEXT", "tokenCount": max(0, total - audio)}, {"modality": "AUDIO", "tokenCount": audio}]
    return [row for row in rows if row["tokenCount"]]


def scores_in(result: LogprobsResult | None) -> bytes:
    """A logprobsResult as the entries of an OpenAI `logprobs.content` list, raw JSON, or b""."""
    if result is None or not result.chosen_candidates:
        return b""
    tops = result.top_candidates or []
    entries = []
    for i, chosen in enumerate(result.chosen_candidates):
        best = tops[i].candidates or [] if i < len(tops) else []
        entries.append({**_entry(chosen), "top_logprobs": [_entry(score) for score in best]})
    return orjson.dumps(entries)


def _entry(score: TokenScore) -> dict[str, Any]:
    token = score.token or ""
    return {"token": token, "logprob": score.log_probability or 0.0, "bytes": list(token.encode())}


class _Score(msgspec.Struct):
    token: str = ""
    logprob: float = 0.0
    top_logprobs: list[_Score] | None = None


_scores = msgspec.json.Decoder(list[_Score])


def scores_out(entries: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """OpenAI `logprobs` entries as the rows of chosenCandidates and of topCandidates; both empty if unreadable."""
    try:
        scores = _scores.decode(entries)
    except UNREADABLE:
        return [], []
    chosen = [_row(score) for score in scores]
    tops = [{"candidates": [_row(top) for top in score.top_logprobs or ()]} for score in scores]
    return chosen, tops


def _row(score: _Score) -> dict[str, Any]:
    return {"token": score.token, "logProbability": score.logprob}
