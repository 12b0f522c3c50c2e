"""`fastanchor lab`: a table, and an exit status that a pipeline can use."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fastanchor.cli import main
from fastanchor.lab import trial
from fastanchor.lab.catalogue import Case, Promise
from fastanchor.lab.fault import Fault

CONFIG = """
[[channels]]
name = "main"
provider = "openai"
keys = ["env:A_KEY_THAT_NOBODY_SET"]
models = ["gpt-4o"]

[[channels]]
name = "spare"
provider = "anthropic"
keys = ["env:ANOTHER_KEY_THAT_NOBODY_SET"]
models = { "gpt-4o" = "claude-sonnet-4-5" }
tier = 1
"""


def run(tmp_path: Path, text: str, *arguments: str) -> tuple[int, str]:
    file = tmp_path / "config.toml"
    file.write_text(text)
    done = CliRunner().invoke(main, ["lab", "--config", str(file), *arguments])
    return done.exit_code, done.output


def test_a_good_configuration_passes(tmp_path: Path) -> None:
    code, output = run(tmp_path, CONFIG, "--fault", "cut")
    assert code == 0
    assert "cut40" in output
    assert "BROKEN" not in output
    assert output.splitlines()[-1].endswith("0 with a broken promise")


def test_a_broken_promise_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    impossible = Case(Fault("always down", "fail400"), Promise.WHOLE)
    monkeypatch.setattr(trial, "CATALOGUE", (impossible,))
    code, output = run(tmp_path, CONFIG)
    assert code == 1
    assert "BROKEN PROMISE: promised was whole" in output


def test_a_bad_configuration_is_told(tmp_path: Path) -> None:
    code, output = run(tmp_path, CONFIG.replace("tier", "teir"))
    assert code == 2
    assert "teir" in output


def test_the_same_seed_gives_the_same_report(tmp_path: Path) -> None:
    arguments = ("--fault", "429", "--seed", "5")
    assert run(tmp_path, CONFIG, *arguments) == run(tmp_path, CONFIG, *arguments)
