"""Compiles what is native here, once for each state of its sources, into `bench/.build/`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "native"
OUTPUT = Path(__file__).parent / ".build"
FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror"]
LIBRARIES = ["-lm"]
SHARED = ["-shared", "-fPIC"]


class BuildError(Exception):
    """No compiler, or it refused the source; the text says which."""


@dataclass(frozen=True)
class Native:
    """Paths of the compiled programs."""

    load: Path
    stub: Path


def build() -> Native:
    """The load generator and the stub.

    Raises:
        BuildError: there is no C compiler (`$CC`, else `cc`), or it failed.
    """
    compiler = os.environ.get("CC", "cc")
    return Native(load=_program("load", compiler), stub=_program("stub", compiler))


def counter() -> Path:
    """The library by which a process under callgrind says when to count. Raises BuildError."""
    return _program("counter", os.environ.get("CC", "cc"), SHARED)


def _program(name: str, compiler: str, flags: Sequence[str] = ()) -> Path:
    program = OUTPUT / f"{name}-{_fingerprint(name, compiler)}"
    if program.exists():
        return program
    if shutil.which(compiler) is None:
        raise BuildError(
            f"the bench needs a C compiler for {name}.c: {compiler!r} was not found "
            "(Debian: apt-get install gcc libc6-dev, or set CC)"
        )
    OUTPUT.mkdir(exist_ok=True)
    unfinished = program.with_suffix(f".{os.getpid()}")
    command = [compiler, *FLAGS, *flags, "-o", str(unfinished), str(SOURCES / f"{name}.c"), *LIBRARIES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr}")
    unfinished.rename(program)  # atomic: two runs at once never see half a program
    return program


def _fingerprint(name: str, compiler: str) -> str:
    digest = hashlib.sha256(" ".join([compiler, *FLAGS]).encode())
    for source in [SOURCES / f"{name}.c", *sorted(SOURCES.glob("*.h"))]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]
