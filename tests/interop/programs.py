"""Running the programs that drive client libraries."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run(command: list[str], asked: Sequence[object] = (), cwd: Path | None = None) -> list[dict[str, Any]]:
    """What a program that reads lines of JSON, and writes such lines, has to say."""
    lines = "".join(json.dumps(line) + "\n" for line in asked)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=300, cwd=cwd)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
