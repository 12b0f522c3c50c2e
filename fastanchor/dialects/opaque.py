"""Endpoints that are passed through: what they are called, who may call them, and the few facts that are read.

    moderations, images, audio, rerank    one request, one answer
    files, fine_tuning                    objects that stay at the channel that made them
    models (POST only)                    the upload of a model

`/v1/fine-tuning/jobs` and `/v1/fine_tuning/jobs` are the same; a channel's own spelling is the one it is configured
with. An id from a client is one segment of a path, of letters, digits and `._:-` (nothing that a URL could take for
structure). Sans-io.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl

import orjson

from fastanchor._speedups.peek import peek
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage

Role: TypeAlias = Literal["plain", "create", "list", "get", "delete"]

PAGED = ("/events", "/checkpoints")
"""What has pages at the channel."""
MAX_LIMIT = 100
DEFAULT_LIMIT = 20

_ID = re.compile(r"(?!\.+$)[A-Za-z0-9._:-]{1,128}")
_PASSED = frozenset(("after", "limit", "order"))
_VALUE = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Opaque:
    """One operation. `tail` is what stands behind the endpoint in the channel's path."""

    endpoint: str
    tail: str
    scope: str
    role: Role
    kind: str = ""  # of the object that is made or asked for
    object_id: str = ""


PLAIN = {
    b"/v1/moderations": ("moderations", ""),
    b"/v1/images/generations": ("images", "/generations"),
    b"/v1/images/edits": ("images", "/edits"),
    b"/v1/images/variations": ("images", "/variations"),
    b"/v1/audio/speech": ("audio", "/speech"),
    b"/v1/audio/transcriptions": ("audio", "/transcriptions"),
    b"/v1/audio/translations": ("audio", "/translations"),
    b"/v1/rerank": ("rerank", ""),
}
"""POST only: (endpoint, tail)."""


@dataclass(frozen=True, slots=True)
class _Collection:
    """Objects below a path; `verbs` are the segments behind an id, with their methods."""

    root: bytes
    endpoint: str
    tail: str
    kind: str
    methods: dict[bytes, Role]
    verbs: dict[bytes, bytes]


_JOB_VERBS = {b"cancel": b"POST", b"pause": b"POST", b"resume": b"POST", b"events": b"GET", b"checkpoints": b"GET"}
COLLECTIONS = (
    _Collection(b"/v1/files", "files", "", "file", {b"GET": "get", b"DELETE": "delete"}, {b"content": b"GET"}),
    _Collection(b"/v1/fine_tuning/jobs", "fine_tuning", "/jobs", "fine_tuning.job", {b"GET": "get"}, _JOB_VERBS),
    _Collection(b"/v1/fine-tuning/jobs", "fine_tuning", "/jobs", "fine_tuning.job", {b"GET": "get"}, _JOB_VERBS),
)
_MADE: dict[bytes, Role] = {b"POST": "create", b"GET": "list"}


def find(method: bytes, path: bytes) -> Opaque | None:
    """The operation at a method and a path, None where the path is none of these.

    Raises:
        Fault: METHOD_NOT_ALLOWED, and INVALID_REQUEST for an id that is none.
    """
    plain = PLAIN.get(path)
    if plain is not None:
        _allow(method == b"POST")
        return Opaque(*plain, "inference", "plain")
    if path == b"/v1/models":
        return Opaque("models", "", "models", "create", "model") if method == b"POST" else None
    for one in COLLECTIONS:
        if path == one.root:
            _allow(method in _MADE)
            return Opaque(one.endpoint, one.tail, "training", _MADE[method], one.kind)
        if path.startswith(one.root + b"/"):
            return _below(one, method, path[len(one.root) + 1 :])
    return None


def _below(one: _Collection, method: bytes, rest: bytes) -> Opaque:
    segments = rest.split(b"/")
    verb = segments[1] if len(segments) == 2 else b""
    if len(segments) > 2 or (len(segments) == 2 and verb not in one.verbs):
        raise Fault(Kind.INVALID_REQUEST if _is_odd(rest) else Kind.NOT_FOUND)
    given = checked_id(segments[0].decode("latin-1"), "id")
    if verb:
        _allow(method == one.verbs[verb])
        return Opaque(one.endpoint, f"{one.tail}/{given}/{verb.decode()}", "training", "get", one.kind, given)
    _allow(method in one.methods)
    return Opaque(one.endpoint, f"{one.tail}/{given}", "training", one.methods[method], one.kind, given)


def _is_odd(rest: bytes) -> bool:
    return b"%" in rest or b".." in rest or b"//" in rest


def _allow(allowed: bool) -> None:
    if not allowed:
        raise Fault(Kind.METHOD_NOT_ALLOWED)


def checked_id(given: str, param: str) -> str:
    """An id as a client gave it. Raises Fault(INVALID_REQUEST)."""
    if not _ID.fullmatch(given):
        raise Fault(Kind.INVALID_REQUEST, f"Invalid '{param}': it is no id.", param=param)
    return given


def passed_query(query: bytes) -> str:
    """What of a query goes to the channel: paging, nothing else."""
    given = parse_qsl(query.decode("latin-1"), max_num_fields=20)
    return "&".join(f"{name}={value}" for name, value in given if name in _PASSED and _VALUE.fullmatch(value))


def page(query: bytes) -> tuple[str, int]:
    """(`after`, `limit`) of a list. Raises Fault(INVALID_REQUEST)."""
    given = dict(parse_qsl(query.decode("latin-1"), max_num_fields=20))
    limit = given.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 6 and int(limit)):
        raise Fault(Kind.INVALID_REQUEST, "Invalid 'limit': it must be a whole number of 1 or more.", param="limit")
    after = given.get("after", "")
    return checked_id(after, "after") if after else "", min(int(limit), MAX_LIMIT)


def listed(objects: list[bytes], *, more: bool) -> bytes:
    """A list of objects, each as its channel tells it."""
    ids = [read_id(one) for one in objects] or [None]
    tail = orjson.dumps({"has_more": more, "first_id": ids[0], "last_id": ids[-1]})[1:]
    return b'{"object":"list","data":[%b],%b' % (b",".join(objects), tail)


def read_id(body: bytes) -> str | None:
    """The `id` (or, of an uploaded model, `model_id`) of an object, None when it has none."""
    found = _object(body)
    for name in ("id", "model_id"):
        value = found.get(name)
        if isinstance(value, str) and _ID.fullmatch(value):
            return value
    return None


def file_ids(body: bytes) -> list[tuple[str, str]]:
    """The files that a job's request names: (field, id). Raises Fault(INVALID_REQUEST)."""
    found = peek(body, (b"training_file", b"validation_file"))
    names = ("training_file", "validation_file")
    values = [(name, found.string(name.encode()) if found else None) for name in names]
    return [(name, checked_id(value, name)) for name, value in values if value]


def usage_of(body: bytes) -> Usage:
    """What an answer says of its tokens, in the words of chat or of Responses; nothing, where it says nothing."""
    found = peek(body, (b"usage",))
    raw = found.raw(b"usage") if found else None
    usage = _object(raw or b"")
    given = _count(usage, "prompt_tokens", "input_tokens")
    made = _count(usage, "completion_tokens", "output_tokens")
    total = _count(usage, "total_tokens")
    if given is None and total is not None:
        given = max(0, total - (made or 0))
    return Usage(given or 0, made or 0)


def _count(usage: dict[str, Any], *names: str) -> int | None:
    values = (usage.get(name) for name in names)
    return next((value for value in values if type(value) is int and 0 <= value < 2**53), None)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
