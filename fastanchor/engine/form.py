"""A request body that is passed on while it comes, with its beginning looked at first: who is asked depends on it."""

from __future__ import annotations

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import multipart
from fastanchor.wire.errors import BadRequest
from fastanchor.wire.message import Request

FORM = b"multipart/form-data"


class SecondModel(BadRequest):
    """The form names its model more than once."""

    def __init__(self) -> None:
        super().__init__(400, "the form names its model more than once")


class Form:
    """A body, read piece by piece (see `wire.upload.Source`).

    `model` is the form's model, "" when its beginning does not name one; `length` is what the client told, in bytes;
    `begun`: a piece has been given out, so that the body cannot be sent again. A `strict` form may name its model once.
    """

    def __init__(self, request: Request, beginning: bytes, named: multipart.Named | None, length: int | None) -> None:
        self.content_type = request.get(b"content-type") or b"application/octet-stream"
        self.model = named.name if named else ""
        self.length = length
        self.begun = False
        self.strict = False
        self._request = request
        self._beginning = beginning
        self._named = named
        self._told = length
        self._watch = multipart.Watch()

    def rename(self, model: str) -> None:
        """The model's name at the channel that will get the body."""
        named = self._named
        if named is None or not model:
            return
        name = model.encode()
        self._beginning = self._beginning[: named.start] + name + self._beginning[named.end :]
        self._named = multipart.Named(self.model, named.start, named.start + len(name))
        if self.length is not None:
            self.length += len(name) - (named.end - named.start)

    async def read(self) -> bytes:
        """The next piece. Raises SecondModel for a strict form, and what `Request.read` does."""
        self.begun = True
        piece, self._beginning = self._beginning, b""
        piece = piece or await self._request.read()
        if self.strict and self._watch.feed(piece) > 1:
            raise SecondModel
        return piece


async def form_of(request: Request, most: int) -> Form:
    """The form, read up to its model. Raises what `Request.read` does."""
    if request.get(b"content-encoding") is not None:
        raise Fault(Kind.UNSUPPORTED_MEDIA_TYPE, "Only JSON bodies may have a content coding.")
    request.max_body = most
    kind = (request.get(b"content-type") or b"").partition(b";")[0].strip().lower()
    beginning = b""
    named = None
    if kind == FORM:
        while named is None and len(beginning) < multipart.BEGINNING:
            piece = await request.read()
            if not piece:
                break
            beginning += piece
            named = multipart.model_in(beginning)
    length = request.get(b"content-length")
    return Form(request, beginning, named, int(length) if length is not None and length.isdigit() else None)
