"""Types of the compiled half of `http1`."""

from ._http1_chunked import ChunkDecoder as ChunkDecoder
from ._http1_chunked import chunk as chunk
from ._http1_types import Buffer, HeadLimits, Headers, RequestHead, ResponseHead

def parse_request(buf: Buffer, limits: HeadLimits = ..., scanned: int = 0) -> RequestHead | None: ...
def parse_response(buf: Buffer, limits: HeadLimits = ..., scanned: int = 0) -> ResponseHead | None: ...
def response_head(
    status: int, headers: Headers, own: bytes = b"", reserved: frozenset[bytes] = ...
) -> bytes: ...
def request_head(
    method: bytes,
    target: bytes,
    headers: Headers,
    host: bytes | None = None,
    own: bytes = b"",
    reserved: frozenset[bytes] = ...,
) -> bytes: ...
