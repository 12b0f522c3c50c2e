"""What is left of a request: one frozen record, read by the access log, the metrics and the ledger alike."""

from __future__ import annotations

from dataclasses import dataclass

from fastanchor.core.usage import Usage


@dataclass(slots=True)
class AttemptRecord:
    """One try at one channel, completed while it lasts. Times in seconds.

    `outcome` is "won", "lost", "skipped" or a fault's kind.
    """

    channel: str
    model: str
    key: int  # index among the channel's keys, never the key
    why: str  # first, retry, next_key, next_channel, next_model, hedge, race, rescue, continue
    outcome: str
    status: int = 0
    started: float = 0.0  # after the request began
    seconds: float = 0.0
    first_token: float | None = None
    usage: Usage | None = None
    cost: int = 0  # micro-dollars


@dataclass(slots=True)
class Receipt:
    """One request, ended. Nobody changes it (it is not frozen, because that makes it twice as dear to make)."""

    request_id: str
    started: float  # unix seconds
    dialect: str
    endpoint: str
    client: str  # address
    key_id: str
    organization: str
    model: str
    served_model: str
    channel: str
    provider: str
    stream: bool
    status: int
    ending: str  # "done", "client_gone", "killed" or a fault's kind
    seconds: float
    first_token: float | None
    overhead: float  # seconds spent in the gateway before the first upstream byte was sent, plus after
    usage: Usage
    cost: int  # micro-dollars
    bytes_in: int
    bytes_out: int
    attempts: tuple[AttemptRecord, ...] = ()
