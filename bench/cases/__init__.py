"""The table of cases, in the order in which they are measured and reported. A module for each kind of work."""

from __future__ import annotations

from bench.cases import books, cpu, crowd, latency, memory, protocols, start, workers
from bench.cases.case import Case

CASES: tuple[Case, ...] = (
    *cpu.CASES,
    *workers.CASES,
    *latency.CASES,
    *memory.CASES,
    *crowd.CASES,
    *start.CASES,
    *books.CASES,
    *protocols.CASES,
)
