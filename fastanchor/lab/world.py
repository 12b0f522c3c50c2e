"""The configuration on trial: read like any other, with made-up secrets where the environment has none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fastanchor.core.snapshot import Snapshot
from fastanchor.settings.load import load

MADE_UP = "made-up-secret-of-the-lab"
_NAMED = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


def load_world(path: Path | None, environ: Mapping[str, str]) -> Snapshot:
    """The compiled configuration. Raises SettingsError with every problem."""
    return load(path, {**_made_up(path), **environ}, pepper=b"").snapshot


def _made_up(path: Path | None) -> dict[str, str]:
    """A secret of its own for every variable that the file names."""
    try:
        text = "" if path is None else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):  # reading it again tells what is wrong
        return {}
    return {name: f"{MADE_UP}-{name}" for name in _NAMED.findall(text)}
