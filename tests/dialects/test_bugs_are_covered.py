"""The list of faults that other gateways shipped has 45 entries; each has a test that bears its number."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
NAMED = re.compile(r"def test_bug_(\d\d)(?:_and_(\d\d))?_")
BUGS = 45


def test_every_number_has_a_test() -> None:
    found = [match.groups() for path in TESTS.rglob("test_*.py") for match in NAMED.finditer(path.read_text())]
    numbers = {int(number) for pair in found for number in pair if number}
    assert numbers == set(range(1, BUGS + 1))
