"""Builds the compiled half of `fastanchor._speedups`; everything else is declared in pyproject.toml.

FASTANCHOR_NO_EXTENSIONS=1        build without them (a pure wheel; the twins serve)
FASTANCHOR_REQUIRE_EXTENSIONS=1   fail the build when one does not compile (releases, CI)
"""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import Extension, setup

REQUIRED = os.environ.get("FASTANCHOR_REQUIRE_EXTENSIONS") == "1"
WANTED = os.environ.get("FASTANCHOR_NO_EXTENSIONS") != "1"
SOURCES = sorted(Path("fastanchor/_speedups").glob("_*.pyx"))


def extension(source: Path) -> Extension:
    """One .pyx becomes one optional extension: without a C compiler the install still succeeds."""
    return Extension(
        f"fastanchor._speedups.{source.stem}",
        [str(source)],
        extra_compile_args=["-O2", "-Werror=implicit-function-declaration"],
        optional=not REQUIRED,
    )


def extensions() -> list[Extension]:
    if not WANTED or not SOURCES:
        return []
    from Cython.Build import cythonize

    directives = {"language_level": "3", "binding": False, "embedsignature": True}
    built: list[Extension] = cythonize([extension(s) for s in SOURCES], compiler_directives=directives)
    for module in built:  # cythonize copies the extensions and forgets `optional`
        module.optional = not REQUIRED
    return built


setup(ext_modules=extensions())
