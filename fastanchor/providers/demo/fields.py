"""Fields of a request body, judged by type: what is wrong is refused, what is absent is None."""

from __future__ import annotations

from fastanchor.providers.demo.ask import Body, Json, Refused


def text(body: Body, name: str) -> str:
    """A string that must be there."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(400, f"{name}: a non-empty string is required", name)
    return value


def items(body: Body, name: str) -> list[Json]:
    """A list that must be there and hold something."""
    value = body.get(name)
    if not isinstance(value, list) or not value:
        raise Refused(400, f"{name}: a non-empty list is required", name)
    return value


def flag(body: Body, name: str) -> bool:
    """A boolean, false when absent or null."""
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise Refused(400, f"{name}: a boolean is required", name)
    return value


def limit(body: Body, *names: str) -> int | None:
    """A positive integer under the first name that is set."""
    for name in names:
        value = body.get(name)
        if value is not None:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise Refused(400, f"{name}: an integer of at least 1 is required", name)
            return value
    return None


def table(value: Json) -> Body:
    """An object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def tables(value: Json) -> list[Body]:
    """The objects of a list, an empty list in place of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def texts(content: Json) -> list[str]:
    """The texts of a string or a list of parts, those of nested tool results too."""
    if isinstance(content, str):
        return [content]
    found: list[str] = []
    for part in tables(content):
        for name in ("text", "content", "output"):
            if name in part:
                found += texts(part[name])
    return found


def strings(value: Json) -> list[str]:
    """A string or a list of them, as a list."""
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
