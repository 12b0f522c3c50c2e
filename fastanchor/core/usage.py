"""Token counts of one answer, in one meaning for all vendors.

`input` counts every prompt token, cached ones included; `output` counts every generated token, reasoning included
(reference: vendors differ in both; the decoders convert). Counters that a vendor sends while streaming are cumulative:
a later value replaces an earlier one and is never added to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_NULLABLE = ("input", "output", "cost")
_COUNTS = (
    "cache_read", "cache_write", "cache_write_1h", "reasoning", "audio_input", "audio_output", "searches", "estimated"
)  # fmt: skip


@dataclass(slots=True)
class Usage:
    """Tokens of one answer. `None` means: the provider has not said (0 means it said zero)."""

    input: int | None = None
    output: int | None = None
    cache_read: int = 0  # part of input
    cache_write: int = 0  # part of input, all lifetimes together
    cache_write_1h: int = 0  # part of cache_write with a lifetime of an hour or more
    reasoning: int = 0  # part of output
    audio_input: int = 0  # part of input
    audio_output: int = 0  # part of output
    searches: int = 0  # hosted web searches, a count
    cost: int | None = None  # what the provider itself says it charged, micro-dollars
    estimated: bool = False

    @property
    def known(self) -> bool:
        return self.input is not None and self.output is not None

    @property
    def total(self) -> int:
        return (self.input or 0) + (self.output or 0)

    def update(self, later: Usage) -> None:
        """Take over what a later, cumulative report says; what it does not mention stays."""
        for name in _NULLABLE:
            value = getattr(later, name)
            if value is not None:
                setattr(self, name, value)
        for name in _COUNTS:
            value = getattr(later, name)
            if value:
                setattr(self, name, value)

    def completed(self, input_estimate: int, output_estimate: int) -> Usage:
        """This usage with the estimates in place of what the provider never said, marked as estimated."""
        if self.known:
            return self
        return replace(
            self,
            input=input_estimate if self.input is None else self.input,
            output=output_estimate if self.output is None else self.output,
            estimated=True,
        )
