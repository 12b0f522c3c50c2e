"""A JSON object of a request under inspection: typed members by name, raw bytes kept, faults that name the path.

Absent and null are the same. Every reader raises Fault(INVALID_REQUEST) for a member of another type.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from fastanchor.core.faults import Fault, Kind


class Fields:
    """One object. `path` is where it stands in the request: "messages[2].content[0]", or "" for the whole."""

    __slots__ = ("_members", "path", "source")

    def __init__(self, source: bytes, path: str = "") -> None:
        self.source = source
        self.path = path
        try:
            self._members = msgspec.json.decode(source, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise invalid(path, "it must be an object") from None

    def at(self, name: str) -> str:
        """The path of a member."""
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, name: str, reason: str) -> Fault:
        """A fault at a member."""
        return invalid(self.at(name), reason)

    def names(self) -> list[str]:
        """The members that are not null, in their order."""
        return [name for name in self._members if self.raw(name)]

    def raw(self, name: str) -> bytes:
        """The member's JSON, or b""."""
        value = self._members.get(name)
        raw = b"" if value is None else bytes(value)
        return b"" if raw == b"null" else raw

    def object(self, name: str) -> bytes:
        """The JSON of a member that is an object, or b""."""
        raw = self.raw(name)
        if raw and not raw.startswith(b"{"):
            raise self.wrong(name, "it must be an object")
        return raw

    def text(self, name: str, *, required: bool = False) -> str:
        value = self._value(name)
        if value is None:
            if required:
                raise self.wrong(name, "it is required")
            return ""
        if not isinstance(value, str):
            raise self.wrong(name, "it must be a string")
        return value

    def number(self, name: str) -> float | None:
        value = self._value(name)
        if value is not None and type(value) not in (int, float):
            raise self.wrong(name, "it must be a number")
        return None if value is None else float(value)

    def whole(self, name: str) -> int | None:
        value = self._value(name)
        if value is not None and type(value) is not int:
            raise self.wrong(name, "it must be an integer")
        return value

    def flag(self, name: str) -> bool | None:
        value = self._value(name)
        if value is not None and type(value) is not bool:
            raise self.wrong(name, "it must be a boolean")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._value(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "it must be a list of strings")
        return tuple(value)

    def inner(self, name: str) -> Fields | None:
        """A member that is an object."""
        raw = self.raw(name)
        return Fields(raw, self.at(name)) if raw else None

    def items(self, name: str) -> list[Fields]:
        """A member that is a list of objects."""
        raw = self.raw(name)
        if not raw:
            return []
        try:
            items = msgspec.json.decode(raw, type=list[msgspec.Raw])
        except msgspec.DecodeError:
            raise self.wrong(name, "it must be a list") from None
        return [Fields(bytes(item), f"{self.at(name)}[{at}]") for at, item in enumerate(items)]

    def is_text(self, name: str) -> bool:
        return self.raw(name).startswith(b'"')

    def rest(self, known: frozenset[str]) -> dict[str, bytes]:
        """The raw members that are not among the known ones."""
        return {name: self.raw(name) for name in self.names() if name not in known}

    def _value(self, name: str) -> Any:
        raw = self.raw(name)
        try:
            return orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError:
            raise self.wrong(name, "it cannot be read") from None


def invalid(path: str, reason: str) -> Fault:
    """The fault for a field of a request."""
    return Fault(Kind.INVALID_REQUEST, f"Invalid '{path or 'body'}': {reason}.", param=path)
