"""What was asked, free of any dialect: the hub of request translation.

A `Prompt` is built only when a call must cross from one dialect to another; equal dialects keep their bytes.

Rules:
- Tool arguments, schemas and hosted items are raw JSON bytes, never decoded and encoded again.
- `OpaqueSignature` never crosses to another dialect than its own.
- What a dialect has and this type lacks goes into `extra` under that dialect's name; a writer of another dialect drops
  or rejects it by the mapping tables and names it.
- `path` is where a turn or tool stands in the client's request, for faults to name it; it is no part of what was asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["user", "assistant", "system"]


@dataclass(frozen=True, slots=True)
class OpaqueSignature:
    dialect: str
    data: str


@dataclass(frozen=True, slots=True)
class CacheMark:
    """Everything up to here may be cached. `ttl` as the client wrote it ("5m", "1h", "30m"…), or ""."""

    ttl: str = ""


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str
    cache: CacheMark | None = None
    citations: bytes = b""  # raw JSON, dialect of the request


@dataclass(frozen=True, slots=True)
class MediaPart:
    """An image, audio clip or document, by exactly one of `url`, `data` (base64 text) and `file_id`."""

    kind: Literal["image", "audio", "document", "video"]
    url: str = ""
    data: str = ""
    file_id: str = ""
    mime: str = ""
    name: str = ""
    detail: str = ""
    text: str = ""  # a document given as plain text
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class RefusalPart:
    text: str


@dataclass(frozen=True, slots=True)
class ThoughtPart:
    """Replayed thinking. `redacted`: the text is empty and only the signature's data counts."""

    text: str
    signature: OpaqueSignature | None = None
    redacted: bool = False
    id: str = ""


@dataclass(frozen=True, slots=True)
class ToolCallPart:
    """A replayed call. `arguments` is the raw JSON text, or free text when `custom`."""

    id: str
    name: str
    arguments: bytes
    custom: bool = False
    signature: OpaqueSignature | None = None
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class ToolResultPart:
    """The result of a call. `name` is resolved from the call with the same id when the dialect does not carry it."""

    id: str
    parts: tuple[TextPart | MediaPart, ...]
    name: str = ""
    is_error: bool = False
    custom: bool = False
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class HostedPart:
    """An item of a vendor's own tools: raw JSON that only `dialect` understands."""

    dialect: str
    data: bytes


Part: TypeAlias = (
    TextPart | MediaPart | RefusalPart | ThoughtPart | ToolCallPart | ToolResultPart | HostedPart
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. System turns keep their place in the conversation."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool the model may call. `schema` is raw JSON ("" when absent); `hosted` tools are raw JSON in `data`."""

    kind: Literal["function", "custom", "hosted"]
    name: str
    description: str = ""
    schema: bytes = b""
    strict: bool | None = None
    data: bytes = b""  # custom format or hosted definition, raw JSON in the words of `dialect`
    dialect: str = ""
    cache: CacheMark | None = None
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`mode` "named" has one name; "allowed" a subset, with `required` telling whether one must be called."""

    mode: Literal["auto", "none", "required", "named", "allowed"]
    names: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """The form of the answer. `schema` is raw JSON."""

    kind: Literal["text", "json_object", "json_schema"]
    name: str = ""
    schema: bytes = b""
    strict: bool | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """`effort` "" and `budget` None mean: not said. `mode` "auto" lets the model decide."""

    mode: Literal["off", "on", "auto"]
    effort: str = ""  # minimal, low, medium, high, xhigh, max
    budget: int | None = None  # tokens
    summary: str = ""  # auto, concise, detailed
    include: bool = False  # thoughts are wanted in the answer


@dataclass(slots=True)
class Prompt:
    """A whole request, format-free. Optional numbers are None when the client did not say."""

    turns: list[Turn] = field(default_factory=list)
    prefill: bool = False  # the last turn is the beginning of the answer, to be gone on with
    tools: list[Tool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    max_output: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    logit_bias: bytes = b""  # raw JSON object
    choices: int = 1
    logprobs: bool = False
    top_logprobs: int | None = None
    format: Format | None = None
    reasoning: Reasoning | None = None
    verbosity: str = ""
    user: str = ""  # end-user id for abuse tracking
    metadata: bytes = b""  # raw JSON object
    cache_key: str = ""
    service_tier: str = ""
    store: bool | None = None
    extra: dict[str, dict[str, bytes]] = field(default_factory=dict)  # dialect → field → raw JSON
