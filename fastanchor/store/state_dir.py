"""The state directory: made when it is missing, private, and one instance's at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class StateDirInUse(Exception):
    """Another instance has the directory; the text says which process."""


def claim(path: Path) -> int:
    """Take the directory for this process and all that it forks. Returns the descriptor that holds it.

    The lock lasts until the last of them is gone, so that a new instance cannot begin while workers of a killed one
    still drain. A lock that a dead instance left does not exist: the kernel holds it.

    Raises:
        StateDirInUse: another instance has it.
        OSError: it cannot be made or written to.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise StateDirInUse(f"{path} is in use by another instance (process {owner})") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return descriptor
