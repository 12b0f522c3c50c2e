"""Credentials: where a configured secret comes from, and the digest it is known by.

A secret is "env:NAME", "file:/path" or the text itself. No error of this module holds a secret's text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import TypeAlias

from fastanchor.core.channel import Secret

ReadFile: TypeAlias = Callable[[str], str]
"""The text of a file by path; raises OSError or UnicodeDecodeError."""

DIGEST_SIZE = 16
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_FIELD_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class SecretError(ValueError):
    """A secret that cannot be had. The text is fit for an error message."""


def resolve(source: str, environ: Mapping[str, str], read_file: ReadFile, *, spaces: bool = False) -> Secret:
    """The secret that `source` names, fit to stand in a header field; `spaces` allows them inside.

    Raises SecretError.
    """
    if source.startswith("env:"):
        text = _from_environment(source[4:], environ)
    elif source.startswith("file:"):
        text = _from_file(source[5:], read_file)
    else:
        text = source
    if not (_FIELD_VALUE if spaces else _VISIBLE).fullmatch(text):
        allowed = "visible ASCII characters" + ("" if spaces else " without spaces")
        raise SecretError(f"expected a secret of {allowed}, got others")
    return Secret(text)


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    if not _VARIABLE.fullmatch(name):
        raise SecretError('expected "env:NAME" with the name of an environment variable')
    text = environ.get(name, "")
    if not text:
        raise SecretError(f"environment variable {name} is {'empty' if name in environ else 'not set'}")
    return text


def _from_file(path: str, read_file: ReadFile) -> str:
    try:
        text = read_file(path)
    except OSError as error:
        raise SecretError(f"cannot read file {path}: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise SecretError(f"file {path} is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise SecretError(f"file {path} is empty")
    return text


def key_digest(secret: str, pepper: bytes) -> bytes:
    """What a key is known by in memory and at rest: keyed BLAKE2b, 16 bytes. `pepper` is at most 64 bytes."""
    return blake2b(secret.encode(), key=pepper, digest_size=DIGEST_SIZE).digest()
