"""What was asked and what was answered, for an operator who wants to see it: nothing is kept unless he turns it on.

    state_dir/bodies/<day>/<request id>.json      {"request": …, "answer": …, "cut": …}

Rules:
- The folders are the owner's alone. Of each body at most `most` bytes are kept; `cut` says whether that was less.
- What cannot be written is left out and counted: no request waits or fails for it.
- Whole days are removed when they are older than the ledger keeps requests.
"""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

MOST: Final = 256 * 1024
FOLDER: Final = "bodies"


class Bodies:
    """The bodies below `folder`, made with the first that is kept."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._folder = folder
        self.most = most
        self.failures = 0

    def keep(self, request_id: str, at: float, asked: bytes, answered: bytes) -> None:
        """Write the bodies of a request that has ended; `at` is when it began, in unix seconds."""
        most = self.most
        told = {
            "request": asked[:most].decode("utf-8", "replace"), "answer": answered[:most].decode("utf-8", "replace"),
            "cut": len(asked) > most or len(answered) > most,
        }  # fmt: skip
        folder = self._folder / _day(at).isoformat()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / f"{request_id}.json").write_bytes(orjson.dumps(told))
        except OSError:
            self.failures += 1

    def find(self, request_id: str, at: float) -> dict[str, Any] | None:
        """The bodies of a request that went upstream at `at`, perhaps a day after it began."""
        for day in (_day(at), _day(at) - timedelta(days=1)):
            path = self._folder / day.isoformat() / f"{request_id}.json"
            try:
                found: dict[str, Any] = orjson.loads(path.read_bytes())
            except (OSError, ValueError):
                continue
            return found
        return None

    def expire(self, before: float) -> None:
        """Remove the days that ended before a time."""
        if self._folder.is_dir():
            for folder in self._folder.iterdir():
                if folder.name < _day(before).isoformat():
                    shutil.rmtree(folder, ignore_errors=True)


def _day(unix: float) -> date:
    return datetime.fromtimestamp(unix, UTC).date()
