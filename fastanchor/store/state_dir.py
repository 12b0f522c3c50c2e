"""The state directory: made when it is missing, private, and one instance's at a time."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

ASK_SECONDS = 0.05


class StateDirInUse(Exception):
    """Another instance has the directory; the text says which process."""


def claim(path: Path, *, patience: float = 0.0) -> int:
    """Take the directory for this process and all that it forks. Returns the descriptor that holds it.

    The lock lasts until the last of them is gone, so that a new instance cannot begin while workers of a killed one
    still drain: for these it waits, up to `patience` seconds. A lock that a dead instance left does not exist: the
    kernel holds it.

    Raises:
        StateDirInUse: another instance has it.
        OSError: it cannot be made or written to.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + patience
    while not _locked(descriptor):
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        if _lives(owner) or time.monotonic() >= end:
            os.close(descriptor)
            raise StateDirInUse(f"{path} is in use by another instance (process {owner})")
        time.sleep(ASK_SECONDS)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return descriptor


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(owner: str) -> bool:
    """Whether the process that has taken the directory still runs (and not only those that it forked)."""
    if not owner.isdigit():
        return True
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
