"""One instance per state directory."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from fastanchor.store.state_dir import StateDirInUse, claim


def test_the_directory_is_made_and_private(tmp_path: Path) -> None:
    os.close(claim(tmp_path / "a" / "state"))
    assert (tmp_path / "a" / "state").stat().st_mode & 0o777 == 0o700


def test_a_second_instance_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    first = claim(tmp_path)
    with pytest.raises(StateDirInUse, match=str(os.getpid())):
        claim(tmp_path)
    os.close(first)
    os.close(claim(tmp_path))


def test_the_claim_lasts_until_the_last_child_is_gone(tmp_path: Path) -> None:
    first = claim(tmp_path)
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    os.close(first)
    try:
        with pytest.raises(StateDirInUse):
            claim(tmp_path)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.close(claim(tmp_path))
