"""Foreign signatures inside `encrypted_content`: how another vendor's proof survives a turn with a Responses client.

A Responses client gives reasoning items back as it got them, and `encrypted_content` is opaque to it. So the signature
of a thinking block, of a tool call or of redacted thinking that another vendor made travels there, sealed with its
dialect's name, and comes out of the next request again. An envelope never goes to a Responses provider: it could not
read it, and would refuse the request.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Literal

import msgspec

from fastanchor.core.prompt import OpaqueSignature

MARK = "fastanchor.1."


@dataclass(frozen=True, slots=True)
class Envelope:
    """`over` tells what was signed: thinking, redacted thinking, or the tool call with id `call_id`."""

    signature: OpaqueSignature
    over: Literal["thought", "redacted", "call"] = "thought"
    call_id: str = ""


_OPENER = msgspec.json.Decoder(Envelope)


def seal(envelope: Envelope) -> str:
    """The text that stands in `encrypted_content`."""
    return MARK + urlsafe_b64encode(msgspec.json.encode(envelope)).decode()


def unseal(text: str) -> Envelope | None:
    """What `seal` made, or None when the text is a provider's own or was damaged on its way."""
    if not text.startswith(MARK):
        return None
    try:
        return _OPENER.decode(urlsafe_b64decode(text[len(MARK) :]))
    except (ValueError, RecursionError):  # msgspec's and base64's errors alike
        return None
