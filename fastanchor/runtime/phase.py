"""How far a process is in its life, for the probes: starting, ready, draining."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Phase:
    """`problems` are sentences that make the process unready while they last (a journal that cannot be written…)."""

    ready: bool = False
    draining: bool = False
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        if self.draining:
            return "draining"
        if not self.ready:
            return "starting"
        return "degraded" if self.problems else "ready"
