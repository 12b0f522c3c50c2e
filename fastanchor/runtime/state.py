"""The state directory: one instance at a time, and the secret that its key digests are made with.

    state_dir/lock     held for as long as the instance lives; names its process
    state_dir/pepper   32 random bytes, for nobody else to read
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

PEPPER_BYTES = 32


class StateInUse(Exception):
    """Another instance has the directory."""


class StateDir:
    """The directory, locked for this process and its children.

    Raises:
        StateInUse: another instance has it. OSError: it cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock)
            raise StateInUse(f"state directory {path} is in use by another instance (process {holder})") from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def pepper(self) -> bytes:
        """The key of the key digests, made when it is first asked for."""
        file = self.path / "pepper"
        try:
            fresh = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return file.read_bytes()
        with os.fdopen(fresh, "wb") as out:
            out.write(secrets.token_bytes(PEPPER_BYTES))
            out.flush()
            os.fsync(out.fileno())
        return file.read_bytes()
