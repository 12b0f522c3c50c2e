"""Endpoints that are passed through, by method and path; ids, pages, usage; models in forms."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import opaque
from fastanchor.dialects.multipart import Watch, model_in


@pytest.mark.parametrize(
    ("method", "path", "endpoint", "tail", "scope", "role", "object_id"),
    [
        (b"POST", b"/v1/moderations", "moderations", "", "inference", "plain", ""),
        (b"POST", b"/v1/images/generations", "images", "/generations", "inference", "plain", ""),
        (b"POST", b"/v1/audio/speech", "audio", "/speech", "inference", "plain", ""),
        (b"POST", b"/v1/rerank", "rerank", "", "inference", "plain", ""),
        (b"POST", b"/v1/files", "files", "", "training", "create", ""),
        (b"GET", b"/v1/files", "files", "", "training", "list", ""),
        (b"GET", b"/v1/files/file-a.B_1:2", "files", "/file-a.B_1:2", "training", "get", "file-a.B_1:2"),
        (b"DELETE", b"/v1/files/f", "files", "/f", "training", "delete", "f"),
        (b"GET", b"/v1/files/f/content", "files", "/f/content", "training", "get", "f"),
        (b"POST", b"/v1/fine-tuning/jobs", "fine_tuning", "/jobs", "training", "create", ""),
        (b"GET", b"/v1/fine_tuning/jobs/j", "fine_tuning", "/jobs/j", "training", "get", "j"),
        (b"POST", b"/v1/fine_tuning/jobs/j/cancel", "fine_tuning", "/jobs/j/cancel", "training", "get", "j"),
        (b"GET", b"/v1/fine-tuning/jobs/j/events", "fine_tuning", "/jobs/j/events", "training", "get", "j"),
        (b"POST", b"/v1/models", "models", "", "models", "create", ""),
    ],
)
def test_operations(
    method: bytes, path: bytes, endpoint: str, tail: str, scope: str, role: str, object_id: str
) -> None:
    found = opaque.find(method, path)
    assert found is not None
    assert (found.endpoint, found.tail, found.scope, found.role, found.object_id) == (
        endpoint, tail, scope, role, object_id,
    )  # fmt: skip


@pytest.mark.parametrize(
    "path", [b"/v1/chat/completions", b"/v1/filesystem", b"/v1/images", b"/v1/models/x", b"/files"]
)
def test_other_paths_are_none_of_these(path: bytes) -> None:
    assert opaque.find(b"POST", path) is None
    assert opaque.find(b"GET", b"/v1/models") is None


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        (b"GET", b"/v1/rerank", Kind.METHOD_NOT_ALLOWED),
        (b"DELETE", b"/v1/files", Kind.METHOD_NOT_ALLOWED),
        (b"DELETE", b"/v1/fine_tuning/jobs/j", Kind.METHOD_NOT_ALLOWED),
        (b"GET", b"/v1/fine_tuning/jobs/j/cancel", Kind.METHOD_NOT_ALLOWED),
        (b"GET", b"/v1/files/f/other", Kind.NOT_FOUND),
        (b"GET", b"/v1/files/", Kind.INVALID_REQUEST),
        (b"GET", b"/v1/files/..", Kind.INVALID_REQUEST),
        (b"GET", b"/v1/files/%66", Kind.INVALID_REQUEST),
    ],
)
def test_what_is_refused(method: bytes, path: bytes, kind: Kind) -> None:
    with pytest.raises(Fault) as refused:
        opaque.find(method, path)
    assert refused.value.kind is kind


@given(st.binary(max_size=40))
def test_no_id_leaves_its_segment(given_id: bytes) -> None:
    try:
        found = opaque.find(b"GET", b"/v1/files/" + given_id)
    except Fault:
        return
    assert found is not None
    assert set(found.tail) <= set("/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-")
    assert found.object_id.strip(".")


def test_queries() -> None:
    assert (
        opaque.passed_query(b"after=a-1&limit=5&api_base=http://x&order=desc&limit=%26x")
        == "after=a-1&limit=5&order=desc"
    )
    assert opaque.page(b"") == ("", 20)
    assert opaque.page(b"after=f-1&limit=999") == ("f-1", 100)
    for wrong in (b"limit=0", b"limit=-1", b"limit=x", b"limit=%D9%A3", b"after=../x"):
        with pytest.raises(Fault):
            opaque.page(wrong)


def test_usage_is_read_in_all_words() -> None:
    for body, total in (
        (b'{"usage":{"prompt_tokens":3,"completion_tokens":2}}', 5),
        (b'{"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}', 5),
        (b'{"usage":{"total_tokens":5}}', 5),
        (b'{"usage":{"total_tokens":true}}', 0),
        (b'{"usage":"x"}', 0),
        (b"{}", 0),
        (b"[]", 0),
    ):
        assert opaque.usage_of(body).total == total


def test_lists() -> None:
    assert opaque.listed([b'{"id":"a"}', b'{"id":"b"}'], more=True) == (
        b'{"object":"list","data":[{"id":"a"},{"id":"b"}],"has_more":true,"first_id":"a","last_id":"b"}'
    )
    assert opaque.listed([], more=False).endswith(b'"data":[],"has_more":false,"first_id":null,"last_id":null}')


def forms() -> Iterator[bytes]:
    for head in (
        b'Content-Disposition: form-data; name="model"',
        b'content-disposition:form-data;name="model"',
        b"Content-Disposition: form-data; name=model",
        b'Content-Disposition: form-data; name="model"; x=y',
        b'Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain',
        b"Content-Disposition: form-data; name*=utf-8''model",
    ):
        yield (
            b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n1\r\n--b\r\n'
            + head
            + b"\r\n\r\nwhisper-1\r\n--b--\r\n"
        )


@pytest.mark.parametrize("form", list(forms()))
def test_a_forms_model_is_found_and_counted(form: bytes) -> None:
    found = model_in(form)
    assert found is not None
    assert (found.name, form[found.start : found.end]) == ("whisper-1", b"whisper-1")
    for at in range(len(form)):
        watch = Watch()
        watch.feed(form[:at])
        assert watch.feed(form[at:]) == 1
    assert Watch().feed(form * 3) == 3


@pytest.mark.parametrize(
    "form", [b"", b"--b\r\n", b'name="model"', next(forms())[:90], next(forms()).replace(b"model", b"models")]
)
def test_forms_without_a_model(form: bytes) -> None:
    assert model_in(form) is None
