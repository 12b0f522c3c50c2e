"""Completion requests: the facts of the `Call`, to a `Prompt`, and from one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from fastanchor._speedups.peek import Peek
from fastanchor.core.call import Call
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import Part, Prompt, RefusalPart, TextPart, ThoughtPart, Turn
from fastanchor.dialects import body as bodies
from fastanchor.dialects import foreign
from fastanchor.dialects.contract import Target, Written
from fastanchor.dialects.fields import Fields, invalid
from fastanchor.dialects.openai_chat.draft import Draft, refused
from fastanchor.dialects.openai_chat.parse import read_sampling
from fastanchor.dialects.openai_chat.read import MAX_CHOICES, forwarded, output_limit, read_stream, tokens_in

NAME = "openai_completions"
ECHO = "echo"  # in Call.options: the prompt, to be sent before the answer
MAX_LOGPROBS = 5
MAX_STOPS = 4
DEFAULT_LIMIT = 2048
"""Output tokens of a call that does not limit them: left out, this format's own default of 16 would cut the answer."""
_FACTS = (
    b"model", b"prompt", b"stream", b"stream_options", b"max_tokens", b"max_completion_tokens", b"n", b"best_of",
    b"echo", b"tools",
)  # fmt: skip
_PLACED = frozenset({
    "model", "prompt", "suffix", "max_tokens", "temperature", "top_p", "n", "echo", "logprobs", "logit_bias",
    "frequency_penalty", "presence_penalty", "seed", "stop", "stream", "stream_options", "user",
})  # fmt: skip


_LABELS = {
    # attributes of a prompt that only tune, label or bill, and have no place here → their fields
    "reasoning": "reasoning", "verbosity": "verbosity", "metadata": "metadata", "service_tier": "service_tier",
    "store": "store", "top_k": "top_k", "cache_key": "prompt_cache_key",
}  # fmt: skip


def read(body: bytes, headers: Mapping[str, str]) -> Call:
    """The facts of a request. Raises Fault(INVALID_REQUEST) that names the field."""
    found = bodies.members(body, _FACTS)
    model = bodies.text(found, "model")
    prompts, tokens = _prompts(found)
    n = bodies.whole(found, "n", 1, MAX_CHOICES) or 1
    best_of = bodies.whole(found, "best_of", 1, MAX_CHOICES) or n
    call = Call(NAME, model, found.body, model_span=found.span(b"model"), choices=n * prompts)
    call.max_output = output_limit(found)
    call.prompt_tokens = tokens
    call.headers = forwarded(headers)
    bodies.flag(found, "echo")
    read_stream(found, call)
    if best_of < n:
        raise invalid("best_of", "it must not be less than 'n'")
    if call.stream and best_of > n:
        raise invalid("best_of", "a stream cannot have a 'best_of' that is more than 'n'")
    return call


def _prompts(found: Peek) -> tuple[int, int]:
    """How many prompts there are, and an estimate of their tokens. An absent prompt is an empty document."""
    raw, span = found.raw(b"prompt") or b"null", found.span(b"prompt")
    if raw == b"null" or span is None:
        raise Fault(Kind.INVALID_REQUEST, "Missing required parameter: 'prompt'.", param="prompt")
    if raw[:1] not in (b'"', b"["):
        raise bodies.wrong("prompt", "a string or an array", raw)
    if b'"' in raw:
        given: Any = orjson.loads(raw) if raw.startswith(b"[") else [raw]
        return len(given), tokens_in(found, span.start, span.end)
    rows: Any = orjson.loads(raw)
    nested = bool(rows) and isinstance(rows[0], list)
    return (len(rows) if nested else 1), raw.count(b",") + 1


def parse(call: Call) -> Prompt:
    """The request as a conversation of one user turn. Raises Fault for what only this format can say."""
    request = Fields(call.body)
    if request.raw("suffix") not in (b"", b'""'):
        raise invalid("suffix", "insertion cannot be carried to the provider of this model")
    text = _single(request)
    prompt = Prompt(turns=[Turn("user", (TextPart(text),), path="prompt")])
    read_sampling(request, prompt)
    scores = request.whole("logprobs")
    if scores is not None:
        if not 0 <= scores <= MAX_LOGPROBS:
            raise invalid("logprobs", f"it must be 0 to {MAX_LOGPROBS}")
        prompt.logprobs, prompt.top_logprobs = True, scores
    prompt.user = request.text("user")
    if request.flag("echo"):
        call.options[ECHO] = text
    if extra := request.rest(_PLACED):
        prompt.extra[NAME] = extra
    return prompt


def _single(request: Fields) -> str:
    """The one prompt. Several, or tokens, only pass to upstreams of the same dialect."""
    if request.is_text("prompt"):
        return request.text("prompt")
    given: Any = orjson.loads(request.raw("prompt"))
    if not all(isinstance(item, str) for item in given):
        raise invalid("prompt", "tokens cannot be carried to the provider of this model; send text")
    if len(given) != 1:
        raise invalid("prompt", "several prompts in one request cannot be carried to the provider of this model")
    return str(given[0])


def write(prompt: Prompt, target: Target) -> Written:
    """A conversation as one text prompt: a single user turn as it is, others with their speakers' names (lossy).

    Raises Fault for tools, media and forms of answers, which the format lacks, and for more stop sequences than it has.
    """
    draft = Draft(prompt, target)
    if len(prompt.stop) > MAX_STOPS:
        draft.refuse("stop", f"more than {MAX_STOPS} stop sequences")
    if prompt.logprobs and (prompt.top_logprobs or 0) > MAX_LOGPROBS:
        draft.drop("top_logprobs")
    if prompt.tools:
        draft.refuse(prompt.tools[0].path.partition("[")[0] or "tools", "it has no tools")
    if prompt.format is not None and prompt.format.kind != "text":
        draft.refuse("response_format", "it answers with plain text only")
    body: dict[str, Any] = {"model": target.model, "prompt": _flat(draft)}
    body |= {name: value for name, value in _options(prompt, target).items() if value is not None}
    for name in _LABELS:
        if getattr(prompt, name) not in (None, "", b""):
            draft.drop(_LABELS[name])
    for field in foreign.fields(prompt, NAME):
        if field.firm:
            raise refused(field.name, field.reason)
        if field.reason:
            draft.refuse(field.name, field.reason)
        draft.drop(field.name)
    body |= {name: orjson.Fragment(raw) for name, raw in prompt.extra.get(NAME, {}).items()}
    if target.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return Written(orjson.dumps(body), draft.dropped)


def _options(prompt: Prompt, target: Target) -> dict[str, Any]:
    return {
        "max_tokens": _default_limit(target) if prompt.max_output is None else prompt.max_output,
        "temperature": prompt.temperature,
        "top_p": prompt.top_p,
        "frequency_penalty": prompt.frequency_penalty,
        "presence_penalty": prompt.presence_penalty,
        "seed": prompt.seed,
        "logit_bias": orjson.Fragment(prompt.logit_bias) if prompt.logit_bias else None,
        "n": prompt.choices if prompt.choices > 1 else None,
        "stop": list(prompt.stop[:MAX_STOPS]) or None,
        "logprobs": min(prompt.top_logprobs or 0, MAX_LOGPROBS) if prompt.logprobs else None,
        "user": prompt.user or None,
    }


def _default_limit(target: Target) -> int:
    most = target.card.max_output if target.card is not None else 0
    return min(DEFAULT_LIMIT, most or DEFAULT_LIMIT)


def _flat(draft: Draft) -> str:
    turns = draft.prompt.turns
    texts = [_text(draft, turn, turn.path or f"messages[{at}]") for at, turn in enumerate(turns)]
    if len(turns) == 1 and turns[0].role == "user":
        return texts[0]
    lines = [f"{turn.role.capitalize()}: {text}" for turn, text in zip(turns, texts, strict=True)]
    return "\n\n".join([*lines, "Assistant:"])


def _text(draft: Draft, turn: Turn, path: str) -> str:
    return "".join(_part(draft, part, path) for part in turn.parts)


def _part(draft: Draft, part: Part, path: str) -> str:
    if isinstance(part, RefusalPart):
        return part.text
    if isinstance(part, TextPart):
        if part.cache is not None:
            draft.drop("cache_control")
        return part.text
    if isinstance(part, ThoughtPart):
        draft.drop(f"{path}.reasoning")
    else:
        draft.refuse(path, "it takes text only")
    return ""
