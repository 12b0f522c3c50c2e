"""OpenAI legacy completions: `POST /v1/completions`. Source: the OpenAI API reference.

A stream has whole `text_completion` objects with pieces of `text`. Towards other dialects the prompt is one user turn;
several prompts in one request, prompts of tokens, and `suffix` are refused there.
"""

from __future__ import annotations

from fastanchor.dialects.openai_completions.dialect import DIALECT, OpenAICompletions

__all__ = ["DIALECT", "OpenAICompletions"]
