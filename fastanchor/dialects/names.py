"""Tool names that a provider would refuse, sent under others and turned back in the answer.

The new name depends only on the old one and on the rules, so that the same request is always written the same way and
prompt caches hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256

CHAT = re.compile(r"[A-Za-z0-9_-]{1,64}")  # OpenAI chat and Responses
ANTHROPIC = re.compile(r"[A-Za-z0-9_-]{1,128}")
GEMINI = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")  # 128 are documented, but more than 64 have been refused
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")
_HASH = 8  # hex digits that keep renamed names apart
_SHORTEST = 64


class Names:
    """The names of one request under one provider's rule; a name never seen is renamed as it comes."""

    def __init__(self, legal: re.Pattern[str], names: Iterable[str] = ()) -> None:
        self._legal = legal
        self._sent: dict[str, str] = {}
        for name in names:
            self.sent(name)

    def sent(self, name: str) -> str:
        """The name for the provider."""
        known = self._sent.get(name)
        if known is None:
            known = self._sent[name] = name if self._legal.fullmatch(name) else self._renamed(name)
        return known

    @property
    def renamed(self) -> Mapping[str, str]:
        """Provider's name → client's name, of those that differ."""
        return {sent: name for name, sent in self._sent.items() if sent != name}

    def _renamed(self, name: str) -> str:
        digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
        stem = _ILLEGAL.sub("_", name)[: _SHORTEST - _HASH - 1]
        if not re.match(r"[A-Za-z_]", stem):
            stem = f"_{stem}"[: _SHORTEST - _HASH - 1]
        return f"{stem}_{digest}"
