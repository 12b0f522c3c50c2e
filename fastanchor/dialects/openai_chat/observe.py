"""Watches a chat stream that passes through: byte-exact, in constant memory.

Until the first content every event is parsed, for it decides when the answer is committed. After it only events with a
needle in them are: usage, a finish reason, an error, `[DONE]`. The text of the answer never stays here.

- A usage chunk (`choices: []`) that the client did not ask for is taken out; usage in any other chunk stays.
- An error, in a frame of its own or beside `choices` (OpenRouter), ends the forwarding before that frame, and so does
  a chunk that was cut off within its frame.
- A stream is whole after `[DONE]`, or at its clean end if every choice has finished; `[DONE]` is then supplied. A last
  frame without its blank line counts when its JSON is whole, and gets the blank line that client libraries need.
- A whole answer in place of a stream is framed as one chunk.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

import orjson

from fastanchor._speedups.pump import Middle
from fastanchor._speedups.sse import Marks, Scanner, parse
from fastanchor.core.events import Stop
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.openai_chat.documents import load
from fastanchor.dialects.openai_chat.stops import read_stop
from fastanchor.dialects.openai_chat.usage import chunk_usage
from fastanchor.dialects.openai_chat.whole import as_frame
from fastanchor.providers.classify import from_event

DONE = b"data: [DONE]\n\n"
BYTES_PER_TOKEN = 4
_EVERY = (b"data", b"{")
_NEEDLES = (
    b'"usage":{', b'"usage": {', b'"finish_reason":"', b'"finish_reason": "', b'"error"', b"event: error", b"[DONE]",
)  # fmt: skip
_ORDINARY = 0b11 << len(_NEEDLES)  # the bits of an event in which only the needles of `_EVERY` occur
_MEASURED = tuple(b'"%s":"' % key for key in (b"content", b"text", b"reasoning_content", b"reasoning", b"arguments"))
_CONTENT = ("content", "refusal", "reasoning_content", "reasoning", "tool_calls", "function_call", "audio")
_KEPT = ("moderation", "prompt_filter_results")  # what makes a chunk without choices worth sending


class _Verdict(Enum):
    FORWARD = auto()
    DROP = auto()
    FRAME = auto()  # bare JSON where a frame should be: frame it
    LAST = auto()  # forward, and nothing after it
    FAIL = auto()  # forward nothing from here on


class ChatObserver:
    """For chat streams and for legacy completions, whose chunks have `text` where these have `delta`.

    Args:
        asked: whether the client asked for the usage chunk.
        choices: how many choices the client asked for.
    """

    def __init__(self, *, asked: bool, choices: int = 1) -> None:
        self.usage = Usage()
        self.stop: Stop | None = None
        self.started = False
        self.complete = False
        self.fault: Fault | None = None
        self._asked = asked
        self._choices = choices
        self._scanner = Scanner((*_NEEDLES, *_EVERY), measure=_MEASURED, unclosed=True)
        self._every = True
        self._early_measured = self._early_events = 0  # what the scanner before the current one has counted
        self._begun: set[int] = set()
        self._finished: set[int] = set()

    @property
    def output_estimate(self) -> int:
        """Tokens: a quarter of the text's bytes, but at least one per event."""
        if not self.started:
            return 0
        measured = self._early_measured + self._scanner.measured
        return max(measured // BYTES_PER_TOKEN, self._early_events + self._scanner.events)

    @property
    def _closed(self) -> bool:
        return self.complete or self.fault is not None

    @property
    def middle(self) -> Middle:
        return self._scanner.through, self._marked

    def feed(self, data: bytes) -> bytes:
        return b"" if self._closed else self._scanner.through(data, self._marked)

    def _marked(self, whole: bytes, marks: Marks | None) -> bytes:
        """What goes out of events some of which are marked."""
        if marks is None:
            self.fault = Fault(Kind.MALFORMED_ANSWER)
            return b""
        out = self._forwarded(whole, marks)
        if self._every and self.started and self._choices == 1:
            self._relax()
        return out

    def end(self) -> bytes:
        return b"" if self._closed else self._last_frame() + self._ending()

    def _last_frame(self) -> bytes:
        """What no blank line has ended, if it is whole."""
        tail = self._scanner.tail()
        frame = tail.strip()
        event = _document(frame) if frame else None
        if event is None:
            return b""
        last = tail if event[1] is DONE else frame + b"\n\n"  # nobody waits for a blank line behind the marker
        return self._forwarded(last, [(0, len(last), -1)])

    def _ending(self) -> bytes:
        if self._closed:
            return b""
        if not self._begun or self._begun - self._finished:
            self.fault = Fault(Kind.TRUNCATED if self._begun else Kind.EMPTY_ANSWER)
            return b""
        self.complete = True
        return DONE

    def _relax(self) -> None:
        """From now on only look at the events that bear something; what the old scanner holds back goes to the new."""
        held = self._scanner
        self._early_measured, self._early_events = held.measured, held.events
        self._every = False
        self._scanner = Scanner(_NEEDLES, measure=_MEASURED, unclosed=True)
        self._scanner.feed(held.tail())

    def _forwarded(self, whole: bytes, marks: Marks) -> bytes:
        """`whole` without the events that are dropped, up to the one that ends the stream."""
        kept: list[bytes] = []
        at = 0
        for start, end, mask in marks:
            if self.started and self._choices == 1 and not mask & ~_ORDINARY:
                continue  # marked only because the content had not begun where the scan did
            verdict = self._judge(whole[start:end])
            if verdict is _Verdict.FORWARD:
                continue
            if verdict is _Verdict.LAST:
                return b"".join((*kept, whole[at:end]))
            kept.append(whole[at:start])
            if verdict is _Verdict.FAIL:
                return b"".join(kept)
            if verdict is _Verdict.FRAME:
                kept.append(as_frame(load(whole[start:end])))
            at = end
        return b"".join((*kept, whole[at:])) if kept else whole

    def _judge(self, raw: bytes) -> _Verdict:
        event = _document(raw)
        if event is None:
            if self.started and not is_cut(parse(raw).data or raw):
                return _Verdict.DROP
            self.fault = Fault(Kind.MALFORMED_ANSWER)
            return _Verdict.FAIL
        name, chunk = event
        if chunk is DONE:
            if not self._begun:
                self.fault = Fault(Kind.EMPTY_ANSWER)
                return _Verdict.FAIL
            self.complete = True
            return _Verdict.LAST
        if not isinstance(chunk, dict):
            return _Verdict.FORWARD
        usage = chunk_usage(chunk)
        if usage is not None:
            self.usage.update(usage)
        if is_error(name, chunk):
            self.fault = from_event(orjson.dumps(chunk))
            return _Verdict.FAIL
        choices = chunk.get("choices")
        if choices:
            self._note(choices)
            return _Verdict.FRAME if raw.lstrip().startswith(b"{") else _Verdict.FORWARD
        if usage is not None and not self._asked and not any(chunk.get(key) for key in _KEPT):
            return _Verdict.DROP
        return _Verdict.FORWARD

    def _note(self, choices: Any) -> None:
        """What the choices of one chunk say about start and finish."""
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            index = choice.get("index")
            number = index if isinstance(index, int) and 0 <= index < 128 else 0
            self._begun.add(number)
            said = choice.get("delta") or choice.get("message")
            if choice.get("text") or (isinstance(said, dict) and any(said.get(key) for key in _CONTENT)):
                self.started = True
            reason = choice.get("finish_reason")
            if isinstance(reason, str) and reason:
                self._finished.add(number)
                self.stop = read_stop(reason)
                self.started = True


def _document(raw: bytes) -> tuple[bytes, Any] | None:
    """One event as its name and its parsed data: DONE for the terminal marker, None data for a comment.
    None when its data is no JSON."""
    event = parse(raw)
    data = event.data.strip()
    if not data and raw.lstrip()[:1] == b"{":  # bare JSON in place of an event
        data = raw.strip()
    if data == b"[DONE]":
        return event.event, DONE
    if not data:
        return event.event, None
    try:
        return event.event, load(data)
    except ValueError:
        return None


def is_cut(data: bytes) -> bool:
    """Whether data that is no JSON was to be some: words of the answer may be lost with it. Anything else (a server's
    word to keep the connection open) says nothing, and is no loss."""
    return data.lstrip()[:1] in (b"{", b"[")


def is_error(name: bytes, chunk: dict[str, Any]) -> bool:
    """Whether an event is an error: by a top-level `error`, by its name (Groq), or in the form of vLLM or a proxy."""
    if chunk.get("error") or name == b"error" or chunk.get("object") == "error":
        return True
    return "choices" not in chunk and any(isinstance(chunk.get(key), str) for key in ("detail", "message"))
