"""The table of micro-benchmarks fits the modules it times."""

from __future__ import annotations

import pytest

from bench.micro import runner
from bench.micro.entries import ENTRIES
from bench.micro.runner import Entry


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.module}: {entry.title}")
def test_every_entry_runs_on_the_pure_half(entry: Entry) -> None:
    (result,) = runner.run([entry], seconds=0.0001)
    assert result.pure is not None
    assert result.pure > 0


def test_a_missing_half_is_shown_as_missing() -> None:
    entry = Entry("nowhere", "nothing", lambda module: lambda: None)
    results = runner.run([entry], seconds=0.0001)
    assert (results[0].compiled, results[0].pure) == (None, None)
    assert runner.table(results).count("missing") == 2


def test_only_what_is_asked_for_runs() -> None:
    entries = [Entry("one", "a", lambda m: lambda: None), Entry("two", "b", lambda m: lambda: None)]
    assert [result.entry.module for result in runner.run(entries, "two", 0.0001)] == ["two"]
