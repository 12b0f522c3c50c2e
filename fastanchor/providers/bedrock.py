"""Anthropic's models on Amazon Bedrock: Messages in the body, the model in the path, a signature, a binary stream.

A channel's base URL is `https://bedrock-runtime.REGION.amazonaws.com`; option `region` says the region where the URL
does not. A key is `ACCESS_KEY_ID:SECRET_ACCESS_KEY` or `…:SESSION_TOKEN`, signed with botocore (extra `bedrock`), or a
Bedrock API key, sent as a bearer token. Signing needs the time, so it is a step of its own: `signed`. What comes back
from a streamed call goes through `unframer`, and is then a Messages stream like any other.
Source: "InvokeModelWithResponseStream" of the Bedrock Runtime API reference; SigV4, AWS General Reference.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
import orjson

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.anthropic.versions import BEDROCK
from fastanchor.providers.anthropic import betas_of, messages_only
from fastanchor.providers.contract import Provider, Upstream
from fastanchor.providers.eventstream import BadFrame, Message, Unpacker

SERVICE = "bedrock"
_ELSEWHERE = ("model", "stream", "anthropic_version", "anthropic_beta")
_ERRORS = {
    "throttlingException": "rate_limit_error",
    "serviceUnavailableException": "overloaded_error",
    "validationException": "invalid_request_error",
    "modelTimeoutException": "timeout_error",
}


class Bedrock(Provider):
    """The `bedrock` provider."""

    name = "bedrock"

    def dialect(self, channel: Channel, call: Call) -> str:
        """Always Messages. Raises Fault for what Bedrock does not offer of it."""
        if call.operation == "count_tokens":
            raise Fault(Kind.INVALID_REQUEST, "This model does not offer token counting.", param="model")
        return messages_only(call)

    def upstream(
        self,
        channel: Channel,
        key: Secret | None,
        dialect: str,
        call: Call,
        model: str,
        body: bytes,
        extra: Mapping[str, str],
    ) -> Upstream:
        """POST to the model's `invoke` or `invoke-with-response-stream`, not yet signed (see `signed`)."""
        verb = "invoke-with-response-stream" if call.stream else "invoke"
        target = f"{channel.prefix}/model/{quote(model, safe=':;')}/{verb}"
        accept = b"application/vnd.amazon.eventstream" if call.stream else b"application/json"
        headers = [(b"content-type", b"application/json"), (b"accept", accept)]
        headers += [
            (name.lower().encode("ascii"), value.encode("latin-1"))
            for name, value in channel.headers.items()
            if name.lower() != "anthropic-beta"
        ]
        if key is not None and ":" not in key:
            headers.append((b"authorization", b"Bearer " + key.encode()))
        return Upstream(b"POST", target.encode(), tuple(headers), _body(channel, call, body))

    def signed(self, channel: Channel, key: Secret | None, upstream: Upstream, now: float) -> Upstream:
        """The request with its signature, for keys that sign. `now` is in unix seconds.

        Raises:
            Fault: the key or the region is unusable, or botocore is not installed.
        """
        if key is None or ":" not in key:
            return upstream
        headers = _signed(channel, key, upstream, datetime.fromtimestamp(now, UTC))
        return Upstream(upstream.method, upstream.target, headers, upstream.body)

    def unframer(self) -> Unframer:
        """For the bytes of one streamed answer."""
        return Unframer()


class Unframer:
    """The binary stream of one answer → the frames of a Messages stream."""

    def __init__(self) -> None:
        self._unpacker = Unpacker()
        self._broken = False

    def feed(self, data: bytes) -> bytes:
        """Server-sent events; a damaged stream ends in an `error` event."""
        if self._broken:
            return b""
        try:
            return b"".join(_frame(message) for message in self._unpacker.feed(data))
        except BadFrame:
            self._broken = True
            return _error("api_error", "The event stream is damaged.")


def _body(channel: Channel, call: Call, body: bytes) -> bytes:
    """The request without what the path says, with version and betas in their places; values keep their bytes."""
    members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    out: dict[str, object] = {"anthropic_version": channel.options.get("anthropic_version", BEDROCK)}
    betas = betas_of(channel, call)
    if betas:
        out["anthropic_beta"] = betas
    return msgspec.json.encode(out | {name: raw for name, raw in members.items() if name not in _ELSEWHERE})


def _signed(channel: Channel, key: Secret, upstream: Upstream, now: datetime) -> tuple[tuple[bytes, bytes], ...]:
    try:
        from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
    except ImportError:
        raise Fault(
            Kind.INTERNAL_ERROR, "Signing for Bedrock needs botocore: install fastanchor[bedrock]."
        ) from None
    identity, secret, *token = key.split(":", 2)
    signer = SigV4Auth(Credentials(identity, secret, token[0] if token else None), SERVICE, region_of(channel))
    request = AWSRequest(
        method=upstream.method.decode(),
        url=f"{channel.scheme}://{_authority(channel)}{upstream.target.decode()}",
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in upstream.headers},
        data=upstream.body,
    )
    request.context["timestamp"] = now.strftime(SIGV4_TIMESTAMP)
    _sign_at(signer, request)
    return tuple((name.lower().encode("latin-1"), _bytes(value)) for name, value in request.headers.items())


def _sign_at(signer: Any, request: Any) -> None:
    """What `SigV4Auth.add_auth` does, at the time in the request's context instead of now."""
    signer._modify_request_before_signing(request)
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(to_sign, request))


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


def _authority(channel: Channel) -> str:
    default = 443 if channel.scheme == "https" else 80
    return channel.host if channel.port == default else f"{channel.host}:{channel.port}"


def region_of(channel: Channel) -> str:
    """The region: option `region`, else what stands in the host's name."""
    named = channel.options.get("region")
    labels = channel.host.split(".")
    region = named or (labels[1] if len(labels) > 3 and labels[0].startswith("bedrock-runtime") else "")
    if not region:
        raise Fault(Kind.INTERNAL_ERROR, f"The channel {channel.name!r} needs the option region.")
    return region


def _frame(message: Message) -> bytes:
    """One message as a server-sent event; b"" for what has no place there."""
    kind = message.headers.get(":message-type", "event")
    if kind != "event":
        name = message.headers.get(":exception-type") or message.headers.get(":error-code", "")
        return _error(_ERRORS.get(name, "api_error"), _said(message))
    if message.headers.get(":event-type") != "chunk":
        return b""
    try:
        data = b64decode(orjson.loads(message.payload)["bytes"], validate=True)
        name = orjson.loads(data)["type"]
    except (orjson.JSONDecodeError, binascii.Error, KeyError, TypeError, ValueError):
        return _error("api_error", "The event stream holds a chunk that cannot be read.")
    if not isinstance(name, str) or not name.isidentifier():
        return b""
    one_line = data.replace(b"\r", b" ").replace(b"\n", b" ")  # between tokens, for in strings they are escaped
    return b"event: " + name.encode() + b"\ndata: " + one_line + b"\n\n"


def _said(message: Message) -> str:
    try:
        document = orjson.loads(message.payload)
    except orjson.JSONDecodeError:
        return ""
    said = document.get("message") if isinstance(document, dict) else None
    return said if isinstance(said, str) else ""


def _error(kind: str, message: str) -> bytes:
    body = orjson.dumps({"type": "error", "error": {"type": kind, "message": message}})
    return b"event: error\ndata: " + body + b"\n\n"
