"""Why a chat choice ended, in and out."""

from __future__ import annotations

from fastanchor.core.events import Stop

_IN: dict[str, Stop] = {
    "stop": Stop.END,
    "length": Stop.MAX_TOKENS,
    "tool_calls": Stop.TOOL_CALLS,
    "function_call": Stop.TOOL_CALLS,
    "content_filter": Stop.CONTENT_FILTER,
    "model_length": Stop.CONTEXT_WINDOW,  # Mistral
    "insufficient_system_resource": Stop.UNKNOWN,  # DeepSeek
    "end_turn": Stop.END,  # words of other vendors that leak through compatible servers
    "eos": Stop.END,
    "stop_sequence": Stop.STOP_SEQUENCE,
    "max_tokens": Stop.MAX_TOKENS,
    "tool_use": Stop.TOOL_CALLS,
    "refusal": Stop.REFUSAL,
}

_OUT: dict[Stop, str] = {
    Stop.END: "stop",
    Stop.STOP_SEQUENCE: "stop",
    Stop.MAX_TOKENS: "length",
    Stop.CONTEXT_WINDOW: "length",
    Stop.TOOL_CALLS: "tool_calls",
    Stop.CONTENT_FILTER: "content_filter",
    Stop.REFUSAL: "content_filter",
    Stop.PAUSE: "stop",
    Stop.UNKNOWN: "stop",
}


def read_stop(native: str, *, tools: bool = False, refused: bool = False) -> Stop:
    """The reason behind a vendor's word. A plain end after a tool call is a tool call, and after a written refusal a
    refusal; a cut or filtered answer is never promoted, so that half a tool call does not look ready to run."""
    stop = _IN.get(native.lower(), Stop.UNKNOWN)
    if stop is not Stop.END:
        return stop
    return Stop.TOOL_CALLS if tools else Stop.REFUSAL if refused else stop


def write_stop(stop: Stop, *, tools: bool = False, refused: bool = False) -> str:
    """The `finish_reason`. `tools` and `refused`: the choice has tool calls, or a written `refusal`."""
    if stop is Stop.TOOL_CALLS and not tools:
        return "stop"
    if stop is Stop.REFUSAL and refused:
        return "stop"
    return _OUT[stop]
