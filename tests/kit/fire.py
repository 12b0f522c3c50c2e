"""An instance under fire: a provider that remembers, clients that never stop, and what is left in the books.

Every request has a model name of its own (`fire-17`, `fire-slow-18`), by which the provider's memory, the clients'
answers and the ledger are held together.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from fastanchor.store import shm
from fastanchor.store.audit import Audit, verify
from fastanchor.store.ledger import Ledger
from fastanchor.store.limiter import key_owner, organization_owner
from tests.kit.binary import Binary, free_port

CONFIG = """
[server]
workers = {workers}
access_log = "off"
drain_seconds = {drain}
auth = true

[admin]
key = "sk-admin"

[ledger]
lost_requests = "tried"

[plans.paid]
concurrent_requests = 500
tokens_per_day = 1_000_000_000
credits_usd = 1_000_000.0

[[keys]]
name = "fire"
key = "sk-fire"
organization = "acme"
plan = "paid"

[[keys]]
name = "free"
key = "sk-free"
organization = "others"

[[channels]]
name = "witness"
provider = "openai"
base_url = "http://127.0.0.1:{port}/v1"
keys = ["sk-upstream"]
models = "*"

[[routes]]
model = "*"
attempts = 1
hedge = "off"

[prices]
{prices}
"""
PRICED = 1_000
"""So many requests cost something; those that come after them are free."""
COST = 10 * 100 + 5 * 1000
"""Micro-dollars of one answered request."""


def config(port: int, workers: int, drain: float = 5.0) -> str:
    """The configuration of an instance before the provider at a port."""
    prices = (f'"{name_of(n, slow)}" = {{ input = 100.0, output = 1000.0 }}' for n in range(PRICED) for slow in (0, 1))
    return CONFIG.format(port=port, workers=workers, drain=drain, prices="\n".join(prices))


def name_of(number: int, slow: object) -> str:
    return f"fire-slow-{number}" if slow else f"fire-{number}"


def cost_of(model: str) -> int:
    """What an answered request of this name costs."""
    return COST if int(model.rpartition("-")[2]) < PRICED else 0


@contextmanager
def witness(folder: Path) -> Iterator[tuple[int, Path]]:
    """The provider: its port, and the file in which it writes what it has seen."""
    port, seen = free_port(), folder / "seen"
    seen.touch()
    process = subprocess.Popen([sys.executable, "-m", "tests.kit.witness", str(port), str(seen)])
    try:
        until(lambda: listens(port), "the provider does not listen")
        yield port, seen
    finally:
        process.kill()
        process.wait()


def until(condition: object, complaint: str, seconds: float = 60.0) -> None:
    """Wait for a callable to be true."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, complaint
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether somebody takes connections on a port of this machine."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def serves(binary: Binary) -> bool:
    """Whether it answers, and is ready."""
    try:
        return binary.get("/readyz")[0] == 200
    except OSError:
        return False


def children(binary: Binary, name: str) -> list[int]:
    """The instance's processes whose name starts so: `fa worker`, `fa control`."""
    try:
        pids = Path(f"/proc/{binary.process.pid}/task/{binary.process.pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [int(pid) for pid in pids if _comm(pid).startswith(name)]


def _comm(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@dataclass
class Load:
    """Clients, each a thread with one connection that it keeps as long as it may.

    `answered` are the models whose answers came whole; `broken` counts the others by what went wrong. A client that
    `asks_again` does so, once, when the connection that it kept has ended before a byte of the answer: who takes a
    second between two requests may be asking while the server closes.
    """

    port: int
    clients: int = 4
    slow_share: float = 0.0
    asks_again: bool = False
    answered: set[str] = field(default_factory=set)
    asked: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator[Load]:
        threads = [threading.Thread(target=self._client, args=(i,)) for i in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()

    def _client(self, seed: int) -> None:
        random = Random(seed)
        sock: socket.socket | None = None
        while not self.stop.is_set():
            with self._lock:
                number = next(self._numbers)
                self.asked += 1
            slow = random.random() < self.slow_share
            model = name_of(number, slow)
            stream, kept = random.random() < 0.5, sock is not None
            try:
                sock = sock or self._connected()
                try:
                    status, keep = ask(sock, model, stream=stream)
                except Unanswered:
                    if not (kept and self.asks_again):
                        raise
                    sock.close()
                    sock = self._connected()
                    status, keep = ask(sock, model, stream=stream)
            except (OSError, ValueError) as error:
                status, keep = repr(error), False
            with self._lock:
                if status == "200":
                    self.answered.add(model)
                else:
                    self.broken[status] += 1
            if not keep and sock is not None:
                sock.close()
                sock = None
            if status != "200":
                time.sleep(0.02)
        if sock is not None:
            sock.close()


    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


class Unanswered(ValueError):
    """A connection ended before the first byte of the answer."""


def ask(sock: socket.socket, model: str, *, stream: bool, key: str = "sk-fire") -> tuple[str, bool]:
    """One request on a connection. Returns the status of a whole answer, and whether the connection stays.

    Raises:
        Unanswered: nothing of it came.
        OSError, ValueError: the answer broke off.
    """
    body = (
        f'{{"model":"{model}","stream":{str(stream).lower()},"max_tokens":20,'
        '"messages":[{"role":"user","content":"Hello"}]}'
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: fire\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    try:
        sock.sendall(head + body)
        data = sock.recv(65536)
    except ConnectionError as error:
        raise Unanswered(repr(error)) from None
    if not data:
        raise Unanswered("closed")
    while b"\r\n\r\n" not in data:
        data += _more(sock)
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    fields = dict(line.split(b": ", 1) for line in lines[1:])
    if b"content-length" in fields:
        while len(rest) < int(fields[b"content-length"]):
            rest += _more(sock)
    else:
        while not rest.endswith(b"0\r\n\r\n"):
            rest += _more(sock)
        if b"[DONE]" not in rest:
            raise ValueError("stream without its last word")
    return lines[0].split()[1].decode(), fields.get(b"connection") != b"close"


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise ValueError("closed")
    return data


@dataclass(frozen=True)
class Books:
    """What is left when the instance has ended."""

    audit: Audit
    rows: Counter[str]  # requests in the ledger by model
    states: dict[str, tuple[int, int]]  # state and cost by model
    held: int  # places that somebody still holds


def books(state_dir: Path) -> Books:
    """Fold what is left, and look."""
    table, addresses = shm.open_tables(state_dir)
    ledger = Ledger(state_dir / "ledger.db", state_dir / "journal", rule="tried")
    try:
        ledger.fold(time.time())
        balance = table.balance(organization_owner("acme"))
        audit = verify(ledger, {} if balance is None else {"acme": balance})
        with ledger.database.reading() as db:
            rows = db.execute("SELECT model, state, cost FROM request").fetchall()
        held = table.held(key_owner("config:fire")) + table.held(organization_owner("acme"))
    finally:
        ledger.close()
        table.close()
        addresses.close()
    return Books(audit, Counter(model for model, *_ in rows), {model: (s, c) for model, s, c in rows}, held)


def hold_together(found: Books, seen: Path, load: Load) -> None:
    """Each request that the provider saw stands in the ledger once; each answer was paid; nothing is held."""
    by_provider = set(seen.read_text().split())
    assert found.audit.problems == ()
    assert found.audit.open == 0
    assert found.audit.damaged == 0
    assert found.held == 0
    assert [model for model, times in found.rows.items() if times != 1] == []
    assert by_provider - found.rows.keys() == set()
    assert load.answered - by_provider == set()
    assert [model for model in load.answered if found.states[model] != (1, cost_of(model))] == []


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
