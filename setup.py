"""Builds the compiled half of `fastanchor._speedups`; everything else is declared in pyproject.toml.

FASTANCHOR_NO_EXTENSIONS=1        build without them (a pure wheel; the twins serve)
FASTANCHOR_REQUIRE_EXTENSIONS=1   fail the build when one does not compile (releases, CI)
"""

from __future__ import annotations

import os
from compileall import compile_dir
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

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


class BuildInPlace(build_ext):
    """A build within the checkout (an editable install) writes bytecode, too, as an install does: where Python is told
    not to write any (PYTHONDONTWRITEBYTECODE), every start would compile every module."""

    def run(self) -> None:
        super().run()
        if self.inplace or self.editable_mode:
            compile_dir("fastanchor", quiet=1)


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildInPlace})
