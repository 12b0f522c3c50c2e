"""Compiling on demand: once for each state of the sources, with a clear word where it cannot be done."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import build
from bench.__main__ import main
from bench.build import BuildError, Native


def test_a_program_is_compiled_once(native: Native) -> None:
    before = native.load.stat().st_mtime_ns, native.stub.stat().st_mtime_ns
    assert build.build() == native
    assert (native.load.stat().st_mtime_ns, native.stub.stat().st_mtime_ns) == before


def test_without_a_compiler_the_bench_says_so_and_ends_with_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr(build, "OUTPUT", tmp_path)
    result = CliRunner().invoke(main, ["--quick", "--gateway", "none", "--only", "plain"])
    assert result.exit_code == 2
    assert "needs a C compiler" in result.output
    assert "'no-such-compiler' was not found" in result.output


def test_a_source_that_does_not_compile_shows_the_compilers_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "load.c").write_text("int main(void) { return missing; }")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    monkeypatch.setattr(build, "OUTPUT", tmp_path / "out")
    with pytest.raises(BuildError, match="missing"):
        build.build()
