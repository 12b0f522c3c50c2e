"""The Responses API's own words, each list in one place."""

from __future__ import annotations

from fastanchor.core.events import Block, Stop

NAME = "openai_responses"

CALLS = {"function_call": Block.TOOL, "custom_tool_call": Block.CUSTOM}
"""Item types that are calls of the client's own tools."""

ENDINGS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
"""Event types that end a stream. Each carries the whole response object."""

FAILED = ("failed", "cancelled")
"""Statuses of a response that is no answer."""

PENDING = ("queued", "in_progress")
"""Statuses of a response that is not an answer yet."""

STOPS = {"max_output_tokens": Stop.MAX_TOKENS, "content_filter": Stop.CONTENT_FILTER}
"""`incomplete_details.reason` as a stop. Others (`max_messages`, `steered`) have no counterpart."""

REASONS = {
    Stop.MAX_TOKENS: "max_output_tokens",
    Stop.CONTEXT_WINDOW: "max_output_tokens",
    Stop.CONTENT_FILTER: "content_filter",
}
"""Stops that leave a response `incomplete`; every other one completes it."""
