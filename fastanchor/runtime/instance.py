"""Puts a whole instance together: settings, sockets, books, and which process runs what."""

from __future__ import annotations

import gc
import logging
import os
import secrets
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from fastanchor._speedups import PURE_WANTED, compiled
from fastanchor.runtime import opening
from fastanchor.runtime.children import tell_ready
from fastanchor.runtime.sockets import handed_over, listening
from fastanchor.runtime.supervisor import GRACE, Supervisor
from fastanchor.runtime.worker import Post, run_worker
from fastanchor.settings.compile import Settings
from fastanchor.settings.load import load, source
from fastanchor.settings.server import ServerSettings
from fastanchor.store import shm
from fastanchor.store.pepper import load_pepper
from fastanchor.store.state_dir import claim
from fastanchor.wire.dial import Origin
from fastanchor.wire.listen import bind
from fastanchor.wire.occupancy import Floor

log = logging.getLogger("fastanchor")

DEMO = "demo provider"
DEMO_ADDRESS = "127.0.0.1:0"
COMPILED = (
    "allowance", "bucket", "chat_facts", "express", "http1", "http1_chunked", "line", "peek", "reactor", "sse", "tally",
    "translate",
)
FIXED = ("listen", "workers", "state_dir", "limits", "ledger")
"""Settings of the server that are read once, at the start."""


class Instance:
    """One `fastanchor serve`.

    Args:
        path: the configuration file, or None for the built-in default.
        environ: secrets by name.
        overrides: `[server]` keys given on the command line.
    """

    def __init__(self, path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> None:
        self.path = path
        self.environ = environ
        self.overrides = overrides
        self.pepper = secrets.token_bytes(32)  # until the state directory is open: only digests are made with it
        self.demo = bind(DEMO_ADDRESS)  # bound before anything forks: its port is part of the configuration
        self.settings = self.load()

    def load(self) -> Settings:
        """The configuration as it is now. Raises SettingsError."""
        host, port = self.demo.getsockname()[:2]
        return load(
            self.path,
            self.environ,
            pepper=self.pepper,
            overrides=self.overrides,
            demo_url=f"http://{host}:{port}",
        )

    def run(self) -> int:
        """Serve until told to stop. Returns the exit code.

        Raises:
            StateDirInUse: another instance has the state directory.
            PepperError: the secret of the key digests cannot be trusted.
            TableError: the limits of the state directory cannot be read.
            OSError: an address is taken, or the state directory cannot be written.
        """
        self.state_dir = Path(self.settings.server.state_dir).absolute()
        self._claim = claim(self.state_dir, patience=self.settings.server.drain_seconds + GRACE)
        self.pepper = load_pepper(self.state_dir / "pepper")
        self.settings = self.load()
        self.workers = self.settings.server.workers or os.cpu_count() or 1
        listeners = listening(self.settings.server, handed_over(os.environ))
        self.floor = Floor(2 * self.workers)
        self.ring = opening.keys(self.state_dir, self.settings)
        opening.books(self.state_dir, self.settings, self.ring, seats=2 * self.workers)
        opening.words(self.settings)
        self.supervisor = Supervisor(self.settings, self._reload, partial(shm.note, self.state_dir))
        self._cast(listeners)
        self._announce(listeners)
        gc.freeze()  # what every process shares stays shared: no collector writes to it
        gc.enable()
        return self.supervisor.run()

    def _cast(self, listeners: list[socket.socket]) -> None:
        """The roles. A worker has two seats: its successor takes the other one."""
        run_dir = self.supervisor.run_dir
        control = bind(f"unix:{run_dir}/control")
        for i in range(self.workers):
            link = bind(f"unix:{run_dir}/worker-{i}")
            self._add_worker(i, listeners, link, Origin("http", f"{run_dir}/control", 0))
        if self.settings.demo:
            self._add_demo()
        self.supervisor.add("control", partial(self._be_control, control, os.getpid()))

    def _add_worker(self, slot: int, listeners: list[socket.socket], link: socket.socket, control: Origin) -> None:
        post = Post(slot, listeners, link, control, self.pepper, self.state_dir, self.ring, os.getpid(), self.floor)

        def main(lifeline: int, seat: int) -> None:
            settings = self.settings  # those in force: what the file says by now is for the next reload
            self.ring.replan(settings.snapshot.plans, settings.snapshot.organizations)
            opening.refresh(self.ring)
            run_worker(settings, post, seat, self.load, lifeline)

        self.supervisor.add(
            f"worker {slot}", main, serves=True, seats=(slot, slot + self.workers), bury=self._bury_worker
        )

    def _bury_worker(self, seat: int) -> bool:
        """Give back what a dead worker held; False: not yet, ask again."""
        self.floor.leave(seat)
        return shm.release_worker(self.state_dir, seat)

    def _add_demo(self) -> None:
        def main(lifeline: int, seat: int) -> None:
            from fastanchor.runtime.demo import run_demo

            run_demo(self.demo, lifeline)

        self.supervisor.add(DEMO, main, reloads=False)

    def _be_control(self, listener: socket.socket, supervisor: int, lifeline: int, seat: int) -> None:
        from fastanchor.runtime.control import run_control  # hypercorn is not for the other processes
        from fastanchor.runtime.office import Office

        links = [f"{self.supervisor.run_dir}/worker-{i}" for i in range(self.workers)]
        office = Office(self.state_dir, self.settings, self.pepper, self.ring)
        run_control(listener, links, lifeline, office, self.load, partial(tell_ready, supervisor))

    def _reload(self) -> Settings:
        """Take over the configuration as it now is, in the supervisor. Raises SettingsError."""
        settings = self.load()
        for name in changed(self.settings.server, settings.server):
            log.warning("server.%s has changed: that takes a restart", name)
        for warning in settings.warnings:
            log.warning("%s", warning)
        self.settings = settings
        if settings.demo and not self.supervisor.has(DEMO):
            self._add_demo()
        return settings

    def _announce(self, listeners: list[socket.socket]) -> None:
        """Say what runs, where, and what the operator should know."""
        for warning in self.settings.warnings:
            log.warning("%s", warning)
        missing = [name for name in COMPILED if not compiled(name)]
        if missing:
            why = "FASTANCHOR_PURE=1" if PURE_WANTED else "the compiled modules were not built"
            log.warning("running pure (%s): %s are several times slower", why, ", ".join(missing))
        places = ", ".join(_shown(listener, self.settings.server.tls is not None) for listener in listeners)
        log.info("fastanchor serves on %s (%s)", places, source(self.path))


def changed(before: ServerSettings, after: ServerSettings) -> list[str]:
    """What has changed of the settings that are read once."""
    names = [name for name in FIXED if getattr(before, name) != getattr(after, name)]
    return [*names, "tls"] if (before.tls is None) != (after.tls is None) else names


def _shown(listener: socket.socket, tls: bool) -> str:
    name = listener.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{'https' if tls else 'http'}://{host}:{name[1]}"
