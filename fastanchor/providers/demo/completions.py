"""OpenAI legacy completions (reference: `openai.types.completion`)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from fastanchor.providers.demo import openai_errors as errors
from fastanchor.providers.demo.ask import CREATED, Answer, Ask, Body, Frame, Json, Refused
from fastanchor.providers.demo.chat import FINISH, MOST_CHOICES
from fastanchor.providers.demo.fields import flag, limit, strings, table, text

DEFAULT_LIMIT = 16


class Completions:
    content_type = errors.SSE
    error = staticmethod(errors.error)

    def read(self, body: Body) -> Ask:
        prompts = strings(body.get("prompt"))
        if not prompts:
            raise Refused(400, "prompt: a string or a list of strings is required", "prompt")
        return Ask(
            model=text(body, "model"),
            body=body,
            stream=flag(body, "stream"),
            texts=prompts,
            limit=limit(body, "max_tokens") or DEFAULT_LIMIT,
            choices=min((limit(body, "n") or 1) * len(prompts), MOST_CHOICES),
            stops=strings(body.get("stop")),
            usage_wanted=flag(table(body.get("stream_options")), "include_usage"),
        )

    def whole(self, answer: Answer) -> Json:
        choices = [
            {"text": choice.text, "index": k, "logprobs": None, "finish_reason": FINISH[choice.finish]}
            for k, choice in enumerate(answer.choices)
        ]
        body = {**_head(answer), "choices": choices}
        return {**body, "usage": _usage(answer)} if answer.usage else body

    def frames(self, answer: Answer) -> Iterator[Frame]:
        def chunk(k: int, piece: str, finish: str | None = None) -> bytes:
            choice = {"text": piece, "index": k, "logprobs": None, "finish_reason": finish}
            return errors.data({**_head(answer), "choices": [choice]})

        for turn in zip_longest(*(choice.parts[0].pieces for choice in answer.choices)):
            for k, piece in enumerate(turn):
                if piece is not None:
                    yield Frame(chunk(k, piece), token=True)
        for k, choice in enumerate(answer.choices):
            yield Frame(chunk(k, "", FINISH[choice.finish]))
        if answer.ask.usage_wanted and answer.usage:
            yield Frame(errors.data({**_head(answer), "choices": [], "usage": _usage(answer)}))
        yield Frame(b"data: [DONE]\n\n")

    def broken(self, answer: Answer) -> bytes:
        return errors.data(errors.error(errors.IN_BAND))

    def garbage(self, answer: Answer) -> bytes:
        return b'data: {"id":"cmpl-demo","choices":[{"text":"lor\n\n'


def _head(answer: Answer) -> Body:
    return {
        "id": f"cmpl-demo{answer.number}",
        "object": "text_completion",
        "created": CREATED,
        "model": answer.ask.model,
    }


def _usage(answer: Answer) -> Body:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
