"""What one client asked: the few facts that admission, routing and accounting need, and the original bytes.

Read by a peek at the body, never by a full parse; `prompt` is filled in only when the call must be translated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fastanchor.core.prompt import Prompt

Operation: TypeAlias = Literal["chat", "embeddings", "count_tokens"]


@dataclass(slots=True)
class Call:
    """One request as asked.

    `model` is the client's name for it; `model_span` is where the value stands in `body` (quotes included), or None
    when the model is not in the body (Gemini puts it in the path). `prompt_tokens` is an estimate. `affinity` is a
    client-given key that ties a conversation together, or "".
    """

    dialect: str
    model: str
    body: bytes
    stream: bool = False
    operation: Operation = "chat"
    model_span: tuple[int, int] | None = None
    include_usage: bool = False  # a chat stream that asked for its usage chunk
    max_output: int | None = None
    choices: int = 1
    prompt_tokens: int = 0
    affinity: str = ""
    headers: dict[str, str] = field(default_factory=dict)  # the dialect's own request headers (version, betas)
    options: dict[str, str] = field(default_factory=dict)  # dialect-private facts kept between read and write
    prompt: Prompt | None = None
