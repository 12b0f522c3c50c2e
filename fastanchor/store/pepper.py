"""The pepper: the secret that keys the digests of API keys. Without it a copy of the database opens nothing."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

SIZE: Final = 32


class PepperError(Exception):
    """The file is there, but cannot be trusted; the text says why."""


def load_pepper(path: Path) -> bytes:
    """The pepper, made when there is none. Two processes that make it at once get the same one.

    Raises:
        PepperError: others may read the file, or it is not a pepper.
        OSError: it can be neither read nor made.
    """
    if not path.exists():
        _make(path)
    mode = path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PepperError(f"{path} may be read by others (mode {stat.S_IMODE(mode):04o}): chmod 600, then replace keys")
    pepper = path.read_bytes()
    if len(pepper) != SIZE:
        raise PepperError(f"{path} has {len(pepper)} bytes instead of {SIZE}: restore it, or replace every key")
    return pepper


def _make(path: Path) -> None:
    """Write it aside and link it in: it appears whole, and only once."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(SIZE))
        os.fsync(descriptor)
        os.link(temporary, path)
    except FileExistsError:
        pass  # another process was first; its pepper holds
    finally:
        os.close(descriptor)
        os.unlink(temporary)
