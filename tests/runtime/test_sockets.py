"""Sockets of an instance: its own, or those of a service manager."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from fastanchor.runtime.sockets import handed_over, listening
from fastanchor.settings.address import Address
from fastanchor.settings.server import ServerSettings


def test_there_is_one_socket_for_each_address(tmp_path: Path) -> None:
    addresses = (Address("127.0.0.1", 0), Address("", 0, str(tmp_path / "s")))
    found = listening(ServerSettings(listen=addresses), [])
    try:
        assert [listener.family for listener in found] == [socket.AF_INET, socket.AF_UNIX]
    finally:
        for listener in found:
            listener.close()


def test_sockets_that_were_handed_over_take_the_place_of_all_addresses() -> None:
    with socket.socket() as given:
        assert listening(ServerSettings(listen=(Address("127.0.0.1", 0),)), [given]) == [given]


@pytest.mark.parametrize(
    "environ",
    [
        {}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": "me", "LISTEN_FDS": "x"},
        {"LISTEN_PID": "me", "LISTEN_FDS": "²"},
    ],
)  # fmt: skip
def test_variables_that_are_not_for_this_process_mean_nothing(environ: dict[str, str]) -> None:
    environ = {name: str(os.getpid()) if value == "me" else value for name, value in environ.items()}
    assert handed_over(environ) == []
    assert environ == {}


def test_a_descriptor_that_does_not_listen_is_refused() -> None:
    with socket.socket() as plain:
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        with pytest.raises(OSError, match="no listening stream socket"):
            handed_over(environ, os.dup(plain.fileno()))


def test_an_instance_serves_on_the_sockets_that_it_was_given(tmp_path: Path) -> None:
    """As systemd starts it: descriptor 3, and variables that name the process."""
    (tmp_path / "c.toml").write_text('[server]\nworkers = 2\naccess_log = "off"\n')
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        script = (
            "import os, sys\n"
            f"os.dup2({listener.fileno()}, 3)\n"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
            "os.execv(sys.executable, [sys.executable, '-m', 'fastanchor', 'serve', '--config', 'c.toml'])\n"
        )
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", script], cwd=tmp_path, pass_fds=(3, listener.fileno()), stdout=log, stderr=log
            )
    try:
        end = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                    assert answer.status == 200
                    break
            except OSError:
                assert time.monotonic() < end, (tmp_path / "log").read_text()
                time.sleep(0.05)
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert f"127.0.0.1:{port}" in (tmp_path / "log").read_text()
