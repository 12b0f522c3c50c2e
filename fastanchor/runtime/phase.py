"""How far a process is in its life, for the probes: starting, ready, draining."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Phase:
    """Sentences by name: `problems` make the process unready while they last (a journal that cannot be written…),
    `warnings` are only told (a ledger that cannot be used: requests are served, and folded later)."""

    ready: bool = False
    draining: bool = False
    problems: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        if self.draining:
            return "draining"
        if not self.ready:
            return "starting"
        return "degraded" if self.problems or self.warnings else "ready"

    @property
    def serves(self) -> bool:
        """Whether new requests are welcome."""
        return self.ready and not self.draining and not self.problems

    @property
    def told(self) -> list[str]:
        """All that is wrong."""
        return [*self.problems.values(), *self.warnings.values()]
