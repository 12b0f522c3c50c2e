"""What a start loads before it serves: nothing that only the control process or a rare request needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

RARE = {"asyncio", "email", "fastanchor.control", "h11", "h2.connection", "hypercorn", "prometheus_client", "unittest"}


def loaded(module: str) -> set[str]:
    """What is loaded with a module, in a process of its own."""
    code = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_processes_share_what_they_need_and_no_more() -> None:
    found = loaded("fastanchor.runtime.instance")
    assert found >= {"fastanchor.runtime.worker", "trio"}
    assert not found & RARE


@pytest.mark.parametrize("rare", ["trio", "fastanchor.runtime", "fastanchor.settings"])
def test_asking_for_help_loads_nothing(rare: str) -> None:
    assert rare not in loaded("fastanchor.cli")
