"""What compilation is given from outside, and where it puts what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastanchor.core.channel import Secret
from fastanchor.settings.problem import Problem
from fastanchor.settings.secrets import ReadFile, SecretError, key_digest, resolve


@dataclass(slots=True)
class Context:
    """One compilation. `demo_url` is where the built-in demo provider answers."""

    environ: Mapping[str, str]
    read_file: ReadFile
    pepper: bytes
    demo_url: str
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def wrong(self, key: str, message: str) -> None:
        self.problems.append(Problem(key, message))

    def secret(self, source: str, key: str, *, spaces: bool = False) -> Secret | None:
        """The secret at a key path, or None after noting why there is none."""
        try:
            return resolve(source, self.environ, self.read_file, spaces=spaces)
        except SecretError as error:
            self.wrong(key, str(error))
            return None

    def digest(self, secret: str) -> bytes:
        return key_digest(secret, self.pepper)
