"""A request message as Google's proto3 JSON parser takes it, member by member, each value keeping its bytes.

It takes camelCase and snake_case, null for absent, numbers as strings, and a single object where a list is wanted
(vendor examples write `"contents": {"parts": {"text": …}}`). Faults name the member as the client wrote it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import msgspec
import orjson

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.body import wrong
from fastanchor.dialects.gemini.answers import UNREADABLE

_SNAKE = re.compile(r"_([a-z0-9])")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])


class Message:
    """One JSON object. `path` is where it stands in the request ("" for the request itself)."""

    __slots__ = ("_names", "_values", "path")

    def __init__(self, raw: bytes, path: str = "") -> None:
        """Raises Fault(INVALID_REQUEST)."""
        self.path = path
        try:
            if not path and not raw.isascii():
                raw.decode()  # what stays raw is not looked at, and has to be text too
            members = _members.decode(raw)
        except UNREADABLE:
            raise self._odd(raw) from None
        self._names = {camel(name): name for name in members}
        self._values = {
            camel(name): data for name, data in ((n, bytes(v)) for n, v in members.items()) if data != b"null"
        }

    def at(self, name: str) -> str:
        """The path of a member, spelled as the client did."""
        spelled = self._names.get(name, name)
        return f"{self.path}.{spelled}" if self.path else spelled

    def names(self) -> Iterator[str]:
        """The camelCase names of the members that are there, in order."""
        return iter(self._values)

    def raw(self, name: str) -> bytes:
        """The JSON text of a member, b"" when absent or null."""
        return self._values.get(name, b"")

    def rest(self, known: frozenset[str]) -> dict[str, bytes]:
        """The members that are not known, as raw JSON."""
        return {name: data for name, data in self._values.items() if name not in known}

    def string(self, name: str) -> str:
        """ "" when absent."""
        data = self.raw(name)
        if not data:
            return ""
        if not data.startswith(b'"'):
            raise wrong(self.at(name), "a string", data)
        return self._text(name, data)

    def strings(self, name: str) -> tuple[str, ...]:
        values = self.items(name)
        if any(not value.startswith(b'"') for value in values):
            raise wrong(self.at(name), "an array of strings", self.raw(name))
        return tuple(self._text(name, value) for value in values)

    def flag(self, name: str) -> bool | None:
        data = self.raw(name)
        if data not in (b"", b"true", b"false"):
            raise wrong(self.at(name), "a boolean", data)
        return None if not data else data == b"true"

    def number(self, name: str) -> float | None:
        """A number, or a string that holds one."""
        data = self.raw(name)
        if not data:
            return None
        try:
            value = float(data.strip(b'"'))
        except ValueError:
            raise wrong(self.at(name), "a number", data) from None
        if not math.isfinite(value):
            raise wrong(self.at(name), "a finite number", data)
        return value

    def integer(self, name: str) -> int | None:
        value = self.number(name)
        if value is not None and (value != int(value) or abs(value) > 2**53):
            raise wrong(self.at(name), "an integer", self.raw(name))
        return None if value is None else int(value)

    def message(self, name: str) -> Message | None:
        data = self.raw(name)
        return Message(data, self.at(name)) if data else None

    def items(self, name: str) -> list[bytes]:
        """The raw items of an array; a lone object stands for an array of one; [] when absent."""
        data = self.raw(name)
        if not data:
            return []
        if data.startswith(b"{"):
            return [data]
        try:
            return [bytes(item) for item in _items.decode(data)]
        except UNREADABLE:
            raise wrong(self.at(name), "an array", data) from None

    def messages(self, name: str) -> list[Message]:
        return [Message(item, f"{self.at(name)}[{i}]") for i, item in enumerate(self.items(name))]

    def refuse(self, reason: str, name: str = "") -> Fault:
        """A 400 about this message, or one member of it."""
        place = self.at(name) if name else self.path
        return Fault(Kind.INVALID_REQUEST, f"Invalid '{place}': {reason}", param=place)

    def _text(self, name: str, data: bytes) -> str:
        try:
            text: str = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise self.refuse("it is not valid Unicode text.", name) from None
        return text

    def _odd(self, raw: bytes) -> Fault:
        if not self.path:
            return Fault(Kind.INVALID_REQUEST, "The request body is not a valid JSON object.")
        return wrong(self.path, "an object", raw)


def camel(name: str) -> str:
    """`snake_case` as `snakeCase`; anything else as it is."""
    return _SNAKE.sub(lambda match: match[1].upper(), name) if "_" in name[1:] else name
