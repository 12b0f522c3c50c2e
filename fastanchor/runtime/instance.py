"""Puts a whole instance together: settings, sockets, and which process runs what."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from fastanchor._speedups import PURE_WANTED, compiled
from fastanchor.runtime.supervisor import Supervisor, bind_slots
from fastanchor.runtime.worker import Post, run_worker
from fastanchor.settings.compile import Settings
from fastanchor.settings.load import load, source
from fastanchor.settings.problem import SettingsError
from fastanchor.store import shm
from fastanchor.store.pepper import load_pepper
from fastanchor.store.state_dir import claim
from fastanchor.wire.dial import Origin
from fastanchor.wire.listen import bind

log = logging.getLogger("fastanchor")

DEMO_ADDRESS = "127.0.0.1:0"
COMPILED = ("http1", "sse", "peek")


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
            OSError: an address is taken, or the state directory cannot be written.
        """
        state_dir = Path(self.settings.server.state_dir).absolute()
        self._claim = claim(state_dir)
        self.pepper = load_pepper(state_dir / "pepper")
        self.settings = self.load()
        supervisor = Supervisor(self.path, self.settings, self.environ)
        workers = self.settings.server.workers or os.cpu_count() or 1
        shm.prepare(state_dir, owners=2 * len(self.settings.snapshot.keys), workers=workers)
        slots = bind_slots(self.settings.server, workers)
        self._announce(slots[0])
        control = bind(f"unix:{supervisor.run_dir}/control")
        links = [bind(f"unix:{supervisor.run_dir}/worker-{i}") for i in range(workers)]
        for i, listeners in enumerate(slots):
            self._add_worker(supervisor, i, listeners, links[i], state_dir)
        if self.settings.demo:
            self._add_demo(supervisor)
        self._add_control(supervisor, control, workers, state_dir)
        return supervisor.run()

    def _add_worker(
        self, supervisor: Supervisor, slot: int, listeners: list[socket.socket], link: socket.socket, state_dir: Path
    ) -> None:
        control = Origin("http", f"{supervisor.run_dir}/control", 0)
        post = Post(slot, listeners, link, control, self.pepper, state_dir)

        def main(lifeline: int) -> None:
            run_worker(self._fresh(), post, self.load, lifeline)

        supervisor.add(f"worker {slot}", main, serves=True, bury=partial(shm.release_worker, state_dir, slot))

    def _fresh(self) -> Settings:
        """The configuration for a worker that starts now: what the file says, or what it said when it was good."""
        try:
            self.settings = self.load()
        except SettingsError as error:
            log.error("a worker starts with the last good configuration: %s", error)
        return self.settings

    def _add_demo(self, supervisor: Supervisor) -> None:
        def main(lifeline: int) -> None:
            from fastanchor.runtime.demo import run_demo

            run_demo(self.demo, lifeline)

        supervisor.add("demo provider", main)

    def _add_control(
        self, supervisor: Supervisor, listener: socket.socket, workers: int, state_dir: Path
    ) -> None:
        def main(lifeline: int) -> None:
            from fastanchor.runtime.control import run_control  # hypercorn is not for the other processes

            links = [f"{supervisor.run_dir}/worker-{i}" for i in range(workers)]
            run_control(listener, links, lifeline, state_dir, self.pepper, self._fresh)

        supervisor.add("control", main)

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


def _shown(listener: socket.socket, tls: bool) -> str:
    name = listener.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{'https' if tls else 'http'}://{host}:{name[1]}"

