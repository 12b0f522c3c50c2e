"""Disks that are full, databases that are locked or damaged: what goes on, what is refused, and how it is told."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import apsw
import orjson
import pytest

from tests.kit.binary import Binary, fastanchor
from tests.kit.fire import Load, ask, books, children, config, hold_together, until, witness


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Path]:
    with witness(tmp_path) as (port, file):
        (tmp_path / "text").write_text(config(port, workers=1))
        yield file


def text(tmp_path: Path) -> str:
    return (tmp_path / "text").read_text()


def status(binary: Binary, model: str, key: str) -> str:
    with socket.create_connection(("127.0.0.1", binary.port), timeout=20) as sock:
        return ask(sock, model, stream=False, key=key)[0]


def ready(binary: Binary) -> tuple[int, str]:
    """What /readyz says: its status, and the problems."""
    code, body = binary.get("/readyz")
    return code, " ".join(orjson.loads(body).get("problems", []))


def metric(binary: Binary, name: str) -> float:
    page = binary.get("/metrics")[1].decode()
    return float(next(line.split()[1] for line in page.splitlines() if line.startswith(f"{name} ")))


def test_a_full_disk_refuses_what_cannot_be_accounted_for_and_recovers_alone(tmp_path: Path, seen: Path) -> None:
    with fastanchor(tmp_path, text(tmp_path)) as binary:
        load = Load(binary.port)
        with load.running():
            until(lambda: len(load.answered) > 50, "no answers")
            load.stop.set()
        worker = children(binary, "fa worker")[0]
        unlimited = resource.prlimit(worker, resource.RLIMIT_FSIZE)
        size = max(path.stat().st_size for path in (tmp_path / "state" / "journal").glob("*.journal"))
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (size + 100, unlimited[1]))

        assert status(binary, "fire-990", "sk-fire") == "503"
        until(lambda: ready(binary)[0] == 503, "readiness does not tell")
        assert "journal" in ready(binary)[1]
        assert "cannot be written" in ready(binary)[1]
        assert status(binary, "fire-991", "sk-fire") == "503"
        assert status(binary, "fire-992", "sk-free") == "200"  # nobody pays for it with credits
        assert metric(binary, "fastanchor_journals_failed") == 1
        assert metric(binary, "fastanchor_journal_kept_records") > 0

        resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited)
        until(lambda: ready(binary) == (200, ""), "it does not recover")
        assert status(binary, "fire-993", "sk-fire") == "200"
        assert metric(binary, "fastanchor_journal_kept_records") == 0
        assert metric(binary, "fastanchor_journal_dropped_records_total") == 0
    found = books(tmp_path / "state")
    hold_together(found, seen, load)
    assert "fire-992" in found.rows  # written when it could be
    assert "fire-990" not in seen.read_text().split()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A state directory on a disk of its own, of 16 MB."""
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> None:
    """Leave no byte."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_disk_without_a_byte_left_stops_what_must_be_paid_for_and_nothing_else(
    tmp_path: Path, small_disk: Path, seen: Path
) -> None:
    """Journals, ledger and all: on a small disk that another program fills."""
    with fastanchor(tmp_path, text(tmp_path)) as binary:
        load = Load(binary.port)
        with load.running():
            until(lambda: len(load.answered) > 20, "no answers")
            load.stop.set()
        fillers = (small_disk / f"filler-{n}" for n in count())
        names = (f"fire-{n}" for n in count(500))

        def refused() -> bool:
            """The last page has room for a few more, and a ledger that lets go of its log makes some."""
            fill(next(fillers))
            return status(binary, next(names), "sk-fire") == "503"

        until(refused, "everything is served")
        until(lambda: "No space left on device" in ready(binary)[1], "readiness does not tell")
        assert ready(binary)[0] == 503
        assert status(binary, "fire-901", "sk-fire") == "503"
        assert status(binary, "fire-902", "sk-free") == "200"
        assert metric(binary, "fastanchor_journals_failed") == 1
        until(lambda: "cannot be written" in binary.log, "the log does not tell")

        for path in small_disk.glob("filler-*"):
            path.unlink()
        until(lambda: ready(binary) == (200, ""), "it does not recover", 15)
        assert status(binary, "fire-903", "sk-fire") == "200"
        assert metric(binary, "fastanchor_journal_dropped_records_total") == 0
    found = books(small_disk)
    hold_together(found, seen, load)
    assert {"fire-902", "fire-903"} <= found.rows.keys()
    assert "fire-901" not in seen.read_text().split()


def test_a_locked_ledger_stops_nothing_and_loses_nothing(tmp_path: Path, seen: Path) -> None:
    with fastanchor(tmp_path, text(tmp_path)) as binary:
        load = Load(binary.port)
        with load.running():
            until(lambda: len(load.answered) > 20, "no answers")
            other = apsw.Connection(str(tmp_path / "state" / "ledger.db"))
            other.set_busy_timeout(10_000)
            other.execute("BEGIN IMMEDIATE")
            until(lambda: "locked" in ready(binary)[1], "readiness does not tell")
            before = len(load.answered)
            assert ready(binary)[0] == 200
            assert metric(binary, "fastanchor_ledger_up") == 0
            until(lambda: len(load.answered) > before + 20, "requests wait for the ledger")
            assert metric(binary, "fastanchor_ledger_behind_bytes") > 0
            other.execute("ROLLBACK")
            other.close()
            until(lambda: ready(binary) == (200, ""), "it does not recover")
    assert not load.broken
    assert "locked" in binary.log
    hold_together(books(tmp_path / "state"), seen, load)


def test_a_damaged_ledger_stops_nothing_and_is_made_again_from_the_journals(tmp_path: Path, seen: Path) -> None:
    state = tmp_path / "state"
    with fastanchor(tmp_path, text(tmp_path)) as binary:
        load = Load(binary.port)
        with load.running():
            until(lambda: metric(binary, "fastanchor_ledger_records_total") > 20, "nothing is folded")
            control = children(binary, "fa control")[0]
            os.kill(control, signal.SIGSTOP)
            for damaged in [path for path in (state / "ledger.db", state / "ledger.db-wal") if path.exists()]:
                with open(damaged, "r+b") as file:
                    file.write(os.urandom(max(8192, os.fstat(file.fileno()).st_size)))
            os.kill(control, signal.SIGKILL)  # the one that comes after it finds the damage
            until(lambda: "damaged" in ready(binary)[1], "readiness does not tell")
            before = len(load.answered)
            assert ready(binary)[0] == 200
            until(lambda: len(load.answered) > before + 20, "requests wait for the ledger")
            assert binary.get("/v1/usage", "sk-fire")[0] == 503
            for path in state.glob("ledger.db*"):  # what the message tells the operator to do
                path.rename(tmp_path / path.name)
            until(lambda: ready(binary) == (200, ""), "it does not recover")
    assert not load.broken
    assert "damaged" in binary.log
    hold_together(books(state), seen, load)


def test_an_instance_comes_up_without_its_ledger(tmp_path: Path, seen: Path) -> None:
    """Keys that credits do not pay for are served; the others wait for their account to be open."""
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "ledger.db").write_bytes(b"not a database" * 1000)
    with fastanchor(tmp_path, text(tmp_path)) as binary:
        until(lambda: "damaged" in ready(binary)[1], "readiness does not tell")
        assert status(binary, "fire-1", "sk-free") == "200"
        assert status(binary, "fire-2", "sk-fire") == "503"
        (tmp_path / "state" / "ledger.db").unlink()
        until(lambda: status(binary, "fire-3", "sk-fire") == "200", "the account does not open")


def test_a_damaged_key_store_stops_no_configured_key_and_is_told(tmp_path: Path, seen: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "keys.db").write_bytes(b"not a database" * 1000)
    with fastanchor(tmp_path, text(tmp_path)) as binary:
        until(lambda: "keys.db cannot be read" in ready(binary)[1], "readiness does not tell")
        assert ready(binary)[0] == 200
        assert status(binary, "fire-1", "sk-fire") == "200"
        assert metric(binary, "fastanchor_keys_stale") == 1
        assert "keys.db cannot be read" in binary.log
        assert binary.log.count("changed keys are not in force yet") == 1
        (tmp_path / "state" / "keys.db").unlink()
        until(lambda: ready(binary) == (200, ""), "it does not recover")


def test_a_dead_control_process_costs_its_own_pages_only(tmp_path: Path, seen: Path) -> None:
    with fastanchor(tmp_path, text(tmp_path)) as binary:
        control = children(binary, "fa control")[0]
        os.kill(control, signal.SIGSTOP)  # it is there, and does nothing
        try:
            assert status(binary, "fire-1", "sk-fire") == "200"
            time.sleep(0.1)
            assert ready(binary)[0] == 200
        finally:
            os.kill(control, signal.SIGCONT)
        assert metric(binary, "fastanchor_ledger_up") == 1
