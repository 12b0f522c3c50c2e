"""A provider that writes down every request that reaches it: `python -m tests.kit.witness PORT FILE`.

Each line of the file is a model name, written before the answer begins. Tests give every request a model name of its
own, so that what the provider saw can be compared with what the ledger says. Answers carry usage; `slow` in the name
makes the answer last, `-s` in the name of a streamed request is not needed: `stream` in the body decides.
"""

from __future__ import annotations

import os
import sys

import orjson
import trio

from fastanchor.wire.listen import bind, serve
from fastanchor.wire.message import Reply, Request

JSON = [(b"content-type", b"application/json")]
SSE = [(b"content-type", b"text/event-stream")]
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
WORDS = 4


class Witness:
    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def __call__(self, request: Request, reply: Reply) -> None:
        document = orjson.loads(await request.body())
        model = document["model"]
        os.write(self.file, f"{model}\n".encode())
        pause = 0.5 if "slow" in model else 0.002
        if document.get("stream"):
            await self._stream(model, pause, reply)
            return
        await trio.sleep(pause)
        message = {"role": "assistant", "content": "word " * WORDS}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice],
                  "usage": USAGE}
        await reply.respond(200, JSON, orjson.dumps(answer))

    async def _stream(self, model: str, pause: float, reply: Reply) -> None:
        await reply.start(200, SSE, _event(model, {"content": "word "}))
        for _ in range(WORDS - 1):
            await trio.sleep(pause)
            await reply.send(_event(model, {"content": "word "}))
        await reply.send(_event(model, {}, "stop"))
        usage = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [],
                 "usage": USAGE}
        await reply.send(b"data: " + orjson.dumps(usage) + b"\n\ndata: [DONE]\n\n")
        await reply.finish()


def _event(model: str, delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


if __name__ == "__main__":
    trio.run(serve, bind(f"127.0.0.1:{sys.argv[1]}"), Witness(sys.argv[2]))
