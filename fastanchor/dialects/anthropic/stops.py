"""Why an answer ended, in Anthropic's words and in ours.

`stop_reason` is never null on our wire: a null keeps some clients from seeing the end at all. A truncated or filtered
answer stays truncated or filtered even when it holds a tool call, so that half a call does not look executable.
Source: `StopReason` of the Messages API reference; `compaction` is a beta.
"""

from __future__ import annotations

from fastanchor.core.events import Stop

_READ = {
    "end_turn": Stop.END,
    "stop_sequence": Stop.STOP_SEQUENCE,
    "max_tokens": Stop.MAX_TOKENS,
    "model_context_window_exceeded": Stop.CONTEXT_WINDOW,
    "tool_use": Stop.TOOL_CALLS,
    "pause_turn": Stop.PAUSE,
    "refusal": Stop.REFUSAL,
    "compaction": Stop.PAUSE,
}

_WRITE = {
    Stop.END: "end_turn",
    Stop.STOP_SEQUENCE: "stop_sequence",
    Stop.MAX_TOKENS: "max_tokens",
    Stop.CONTEXT_WINDOW: "model_context_window_exceeded",
    Stop.TOOL_CALLS: "tool_use",
    Stop.CONTENT_FILTER: "refusal",
    Stop.REFUSAL: "refusal",
    Stop.PAUSE: "pause_turn",
    Stop.UNKNOWN: "end_turn",
}

_PLAIN = (Stop.END, Stop.UNKNOWN)


def read_stop(native: str, *, called: bool) -> Stop:
    """The meaning of a `stop_reason`; `called` tells whether the answer holds a tool call."""
    stop = _READ.get(native, Stop.UNKNOWN)
    return Stop.TOOL_CALLS if called and stop in _PLAIN else stop


def write_stop(stop: Stop, *, called: bool, refused: bool) -> str:
    """The `stop_reason` to send. `refused`: the answer holds a refusal, which has no block of its own here."""
    if stop in _PLAIN and called:
        stop = Stop.TOOL_CALLS
    elif stop in _PLAIN and refused:
        stop = Stop.REFUSAL
    return _WRITE[stop]
