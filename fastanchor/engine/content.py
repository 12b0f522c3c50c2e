"""The body of a request as its dialect reads it: whole, its content coding taken off, and at its turn."""

from __future__ import annotations

from fastanchor.core.faults import Fault, Kind
from fastanchor.wire.bodies import LARGE, bodies
from fastanchor.wire.coding import BadCoding, DecodingLimits, UnsupportedCoding, decoded_body
from fastanchor.wire.message import Request


async def content(request: Request, limits: DecodingLimits) -> bytes:
    """The body.

    Raises:
        Fault: UNSUPPORTED_MEDIA_TYPE for a coding that is not spoken here, INVALID_REQUEST for one that is broken.
        wire.WireError: as `Request.body`.
    """
    body = await (request.body() if request.get(b"content-encoding") is None else _decoded(request, limits))
    if len(body) >= LARGE:
        await bodies().turn(len(body))
    return body


async def _decoded(request: Request, limits: DecodingLimits) -> bytes:
    try:
        return await decoded_body(request, limits)
    except UnsupportedCoding as refused:
        raise Fault(Kind.UNSUPPORTED_MEDIA_TYPE, f"The {refused.reason}.") from None
    except BadCoding as bad:
        raise Fault(Kind.INVALID_REQUEST, f"Invalid request body: {bad.reason}.") from None
