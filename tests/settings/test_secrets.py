"""Secrets come from where they say, and are never shown."""

from __future__ import annotations

import pytest

from fastanchor.core.channel import Secret
from fastanchor.settings.secrets import SecretError, key_digest, resolve

FILES = {"/key": "in-file\n", "/windows": "in-file\r\n", "/two": "a\n\n", "/empty": "\n", "/latin": ""}


def read_file(path: str) -> str:
    if path == "/latin":
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "canary")
    if path not in FILES:
        raise FileNotFoundError(2, "No such file or directory", path)
    return FILES[path]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("literal", "literal"),
        ("env:NAME", "from-env"),
        ("file:/key", "in-file"),
        ("file:/windows", "in-file"),
        ("environment", "environment"),
        ("ENV:NAME", "ENV:NAME"),
    ],
)
def test_a_secret_is_found(source: str, expected: str) -> None:
    secret = resolve(source, {"NAME": "from-env"}, read_file)
    assert secret == expected
    assert isinstance(secret, Secret)
    assert expected not in repr([secret])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("env:GONE", "environment variable GONE is not set"),
        ("env:EMPTY", "environment variable EMPTY is empty"),
        ("env:", 'expected "env:NAME" with the name of an environment variable'),
        ("env:$X", 'expected "env:NAME" with the name of an environment variable'),
        ("file:/gone", "cannot read file /gone: No such file or directory"),
        ("file:/empty", "file /empty is empty"),
        ("file:/latin", "file /latin is not UTF-8 text"),
        ("file:/two", "expected a secret of visible ASCII characters without spaces, got others"),
        ("env:ODD", "expected a secret of visible ASCII characters without spaces, got others"),
        ("can ary", "expected a secret of visible ASCII characters without spaces, got others"),
        ("canäry", "expected a secret of visible ASCII characters without spaces, got others"),
        ("canary\x7f", "expected a secret of visible ASCII characters without spaces, got others"),
    ],
)
def test_a_secret_that_cannot_be_had_says_why_and_not_what(source: str, message: str) -> None:
    with pytest.raises(SecretError) as caught:
        resolve(source, {"EMPTY": "", "ODD": "canary\x00"}, read_file)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", [" a", "a ", "a\tb", "a\nb", ""])
def test_a_field_value_has_spaces_inside_only(text: str) -> None:
    assert resolve("Bearer x", {}, read_file, spaces=True) == "Bearer x"
    with pytest.raises(SecretError):
        resolve(text, {}, read_file, spaces=True)


def test_a_digest_depends_on_the_whole_secret_and_the_pepper() -> None:
    assert len(key_digest("a", b"p")) == 16
    assert key_digest("a", b"p") == key_digest("a", b"p")
    assert len({key_digest(s, p) for s in ("a" * 100, "a" * 101, "é") for p in (b"p", b"q", b"")}) == 9
