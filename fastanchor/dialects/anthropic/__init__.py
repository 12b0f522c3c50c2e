"""Anthropic Messages: `POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from fastanchor.dialects.anthropic.dialect import DIALECT, Anthropic

__all__ = ["DIALECT", "Anthropic"]
