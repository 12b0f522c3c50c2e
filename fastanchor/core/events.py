"""The vocabulary of an answer: what every decoder yields and every encoder takes.

The grammar that decoders promise and encoders may rely on:

    Begin (BlockStart delta* BlockEnd)* Finish+ Counted? (End|Failed)
    delta = Text | Refusal | Thought | Signature | Arguments | Citation | Raw

- Blocks of different tool calls may overlap; each delta names its block. Block numbers rise from 0 in order of opening.
- `Ping` and `Counted` may stand anywhere after Begin; counters are cumulative, the last one wins.
- Exactly one of End and Failed, and nothing after it.
- Tool arguments, schemas and raw items stay bytes: they are never decoded, so that integers above 2**53 and the order
  of keys survive.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from fastanchor.core.faults import Fault
from fastanchor.core.usage import Usage


class Block(Enum):
    """What a block holds."""

    TEXT = "text"
    REFUSAL = "refusal"
    THOUGHT = "thought"
    REDACTED = "redacted"  # thinking that only its vendor can read; whole in `BlockStart.data`
    TOOL = "tool"  # a function call; arguments are a JSON object
    CUSTOM = "custom"  # a custom tool call; arguments are free text
    HOSTED = "hosted"  # an item of a vendor's own tools, as raw JSON


class Stop(Enum):
    """Why a choice ended."""

    END = "end"
    STOP_SEQUENCE = "stop_sequence"
    MAX_TOKENS = "max_tokens"
    CONTEXT_WINDOW = "context_window"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    PAUSE = "pause"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Begin:
    """The answer has begun. `created` is in unix seconds, 0 when the provider does not say."""

    id: str
    model: str
    created: int = 0
    service_tier: str = ""


@dataclass(frozen=True, slots=True)
class BlockStart:
    """A block opens. `dialect` and `data` are set for REDACTED and HOSTED blocks: whose they are, and their JSON."""

    block: int
    kind: Block
    choice: int = 0
    tool_id: str = ""
    tool_name: str = ""
    dialect: str = ""
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Text:
    block: int
    text: str
    logprobs: bytes = b""  # the OpenAI `logprobs` list entries that score this text, raw JSON array


@dataclass(frozen=True, slots=True)
class Refusal:
    block: int
    text: str
    logprobs: bytes = b""


@dataclass(frozen=True, slots=True)
class Thought:
    """Reasoning text; `summary` tells a summary from raw reasoning."""

    block: int
    text: str
    summary: bool = True


@dataclass(frozen=True, slots=True)
class Signature:
    """An opaque proof over thinking or a tool call. Only ever sent back to the dialect that made it."""

    block: int
    dialect: str
    data: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """The next piece of a tool call's arguments, as raw bytes (JSON text cut anywhere)."""

    block: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Citation:
    """A citation or annotation of a text block: raw JSON in the words of `dialect`."""

    block: int
    dialect: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Raw:
    """Something only the same dialect understands (block is None: it belongs to the whole answer)."""

    block: int | None
    dialect: str
    data: bytes


@dataclass(frozen=True, slots=True)
class BlockEnd:
    block: int


@dataclass(frozen=True, slots=True)
class Counted:
    """Usage so far, cumulative."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Finish:
    """A choice has ended. `native` is the provider's own word for `stop`."""

    stop: Stop
    choice: int = 0
    sequence: str = ""
    native: str = ""
    detail: bytes = b""  # raw JSON details (Anthropic `stop_details`)


@dataclass(frozen=True, slots=True)
class Ping:
    pass


@dataclass(frozen=True, slots=True)
class End:
    """The answer is whole."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer ends with an error."""

    fault: Fault


Event: TypeAlias = (
    Begin | BlockStart | Text | Refusal | Thought | Signature | Arguments | Citation | Raw | BlockEnd
    | Counted | Finish | Ping | End | Failed
)

CONTENT = (Text, Refusal, Thought, Arguments, Finish)
"""Events that make an answer an answer: the first of them is the commit point."""
