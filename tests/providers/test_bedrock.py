"""Requests to Bedrock, their signatures against botocore's own, and its streams as Messages streams."""

from __future__ import annotations

import builtins
import datetime
from base64 import b64encode
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastanchor._speedups.sse import Decoder
from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.core.events import Counted, End, Failed
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.anthropic import DIALECT
from fastanchor.providers.bedrock import Bedrock
from fastanchor.providers.contract import Upstream
from tests.kit.anthropic import call as reading
from tests.kit.anthropic import decoded, streamed
from tests.providers.test_eventstream import packed

auth = pytest.importorskip("botocore.auth")
MODEL = "us.anthropic.claude-opus-4-7-v1:0"
KEY = Secret("AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = 1_763_640_000.0


def channel(base_url: str = "https://bedrock-runtime.eu-west-1.amazonaws.com", **members: Any) -> Channel:
    return Channel("b", "bedrock", base_url, (KEY,), **members)


def asked(of: Channel, key: Secret | None = KEY, body: bytes = b'{"max_tokens":1}', **members: Any) -> Upstream:
    call = Call("anthropic", "m", b"{}", **members)
    return Bedrock().upstream(of, key, "anthropic", call, MODEL, body, {"x-client": "1"})


@pytest.mark.parametrize(("stream", "verb"), [(False, "invoke"), (True, "invoke-with-response-stream")])
def test_the_model_and_the_kind_of_answer_stand_in_the_path(stream: bool, verb: str) -> None:
    assert asked(channel(), stream=stream).target == f"/model/{MODEL}/{verb}".encode()


def test_a_model_that_is_an_arn_is_one_segment() -> None:
    call = Call("anthropic", "m", b"{}")
    arn = "arn:aws:bedrock:eu-west-1:1:inference-profile/x"
    upstream = Bedrock().upstream(channel(), KEY, "anthropic", call, arn, b"{}", {})
    assert upstream.target == b"/model/arn:aws:bedrock:eu-west-1:1:inference-profile%2Fx/invoke"


def test_the_body_loses_what_the_path_says_and_keeps_all_other_bytes() -> None:
    body = b'{"model":"m","stream":true,"max_tokens":1,"tools":[{"z":9007199254740993123,"a":1}],"x":null}'
    upstream = asked(channel(), body=body, headers={"anthropic-beta": "a,b"})
    document = orjson.loads(upstream.body)
    assert list(document) == ["anthropic_version", "anthropic_beta", "max_tokens", "tools", "x"]
    assert document["anthropic_version"] == "bedrock-2023-05-31"
    assert document["anthropic_beta"] == ["a", "b"]
    assert b'"tools":[{"z":9007199254740993123,"a":1}]' in upstream.body


def test_no_client_header_goes_along_and_the_operators_do() -> None:
    upstream = asked(channel(headers={"X-Trace": "t"}))
    assert dict(upstream.headers) == {
        b"content-type": b"application/json", b"accept": b"application/json", b"x-trace": b"t",
    }  # fmt: skip


def test_an_api_key_is_a_bearer_token_and_is_not_signed() -> None:
    upstream = asked(channel(), Secret("ABSK-token"))
    assert dict(upstream.headers)[b"authorization"] == b"Bearer ABSK-token"
    assert Bedrock().signed(channel(), Secret("ABSK-token"), upstream, NOW) is upstream


@pytest.mark.parametrize("token", ["", ":session/token=="])
def test_the_signature_is_botocores_at_the_given_time(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    key, of = Secret(KEY + token), channel()
    upstream = asked(of, key)
    signed = Bedrock().signed(of, key, upstream, NOW)
    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    monkeypatch.setattr(auth, "get_current_datetime", lambda: moment)
    identity, secret, *rest = key.split(":", 2)
    headers = {name.decode(): value.decode() for name, value in upstream.headers}
    request = AWSRequest("POST", of.base_url + upstream.target.decode(), headers, upstream.body)
    auth.SigV4Auth(Credentials(identity, secret, rest[0] if rest else None), "bedrock", "eu-west-1").add_auth(request)
    told = dict(signed.headers)
    assert told[b"authorization"].decode() == request.headers["Authorization"]
    assert told[b"x-amz-date"] == moment.strftime("%Y%m%dT%H%M%SZ").encode()
    assert (told.get(b"x-amz-security-token", b"").decode() or None) == (rest[0] if rest else None)
    assert (signed.target, signed.body) == (upstream.target, upstream.body)
    assert "wJalr" not in repr(signed)


def test_the_signature_depends_on_time_body_and_region() -> None:
    def signature(of: Channel, now: float, body: bytes) -> bytes:
        return dict(Bedrock().signed(of, KEY, asked(of, body=body), now).headers)[b"authorization"]

    regional = channel("https://proxy.example:8443", options={"region": "us-east-1"})
    made = {
        signature(channel(), NOW, b'{"a":1}'), signature(channel(), NOW + 1, b'{"a":1}'),
        signature(channel(), NOW, b'{"a":2}'), signature(regional, NOW, b'{"a":1}'),
    }  # fmt: skip
    assert len(made) == 4
    assert b"/us-east-1/bedrock/" in signature(regional, NOW, b"{}")


def test_a_channel_without_a_region_says_so() -> None:
    with pytest.raises(Fault) as caught:
        Bedrock().signed(channel("https://proxy.example"), KEY, asked(channel()), NOW)
    assert "region" in caught.value.message


def test_without_botocore_the_fault_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("botocore"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(Fault) as caught:
        Bedrock().signed(channel(), KEY, asked(channel()), NOW)
    assert "fastanchor[bedrock]" in caught.value.message


@pytest.mark.parametrize("operation", ["embeddings", "count_tokens"])
def test_what_bedrock_does_not_offer_is_a_fault(operation: Any) -> None:
    with pytest.raises(Fault):
        Bedrock().dialect(channel(), Call("anthropic", "m", b"", operation=operation))


def chunks(stream: bytes) -> bytes:
    """A Messages stream as Bedrock would frame it."""
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return b"".join(
        packed(headers, orjson.dumps({"bytes": b64encode(event.data).decode(), "p": "abc"}))
        for event in Decoder().feed(stream)
    )


@pytest.mark.parametrize("name", ["text", "tool-use", "thinking-tool-use", "cache-read", "server-tool-refusal"])
@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_recordings_come_through_the_framing(recordings: Path, name: str, size: int) -> None:
    stream = (recordings / "anthropic" / f"{name}.sse").read_bytes()
    data, unframer = chunks(stream), Bedrock().unframer()
    out = b"".join(unframer.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert decoded(out) == decoded(stream)
    assert streamed(out).to_dict() == streamed(stream).to_dict()
    observer = DIALECT.observer(reading())
    assert observer.feed(out) + observer.end() == out
    assert observer.complete


def test_the_metrics_beside_message_stop_do_no_harm() -> None:
    stop = b'data: {"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3}}\n\n'
    start = b'data: {"type":"message_start","message":{"usage":{"input_tokens":3}}}\n\n'
    events = decoded(Bedrock().unframer().feed(chunks(start + stop)))
    assert isinstance(events[-1], End)
    assert any(isinstance(event, Counted) for event in events)


@pytest.mark.parametrize(
    ("exception", "kind"),
    [
        ("throttlingException", Kind.UPSTREAM_RATE_LIMITED), ("serviceUnavailableException", Kind.UPSTREAM_OVERLOADED),
        ("internalServerException", Kind.UPSTREAM_ERROR), ("modelStreamErrorException", Kind.UPSTREAM_ERROR),
        ("validationException", Kind.IN_BAND_ERROR),
    ],
)  # fmt: skip
def test_an_exception_in_the_stream_is_an_error_event(exception: str, kind: Kind) -> None:
    headers = {":exception-type": exception, ":content-type": "application/json", ":message-type": "exception"}
    out = Bedrock().unframer().feed(packed(headers, b'{"message":"no"}'))
    assert out.startswith(b"event: error\n")
    last = decoded(out)[-1]
    assert isinstance(last, Failed)
    assert last.fault.kind is kind


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"bytes":3}', b'{"bytes":"!"}', b'{"bytes":"e30="}'])
def test_a_chunk_that_cannot_be_read_ends_the_stream(payload: bytes) -> None:
    headers = {":event-type": "chunk", ":message-type": "event"}
    assert isinstance(decoded(Bedrock().unframer().feed(packed(headers, payload)))[-1], Failed)


def test_a_damaged_stream_ends_in_an_error_once() -> None:
    unframer = Bedrock().unframer()
    assert unframer.feed(b"HTTP/1.1 200 OK\r\n").startswith(b"event: error\n")
    assert unframer.feed(b"more") == b""


def test_other_events_are_passed_over() -> None:
    assert Bedrock().unframer().feed(packed({":event-type": "initial", ":message-type": "event"}, b"{}")) == b""
