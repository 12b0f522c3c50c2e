"""Finding and reading the configuration: `./config.toml`, else `$FASTANCHOR_CONFIG`, else the built-in default.

The built-in default is the empty file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from fastanchor.core.model import ModelCard
from fastanchor.settings.compile import DEMO_URL, NO_CARDS, Settings, compile_settings
from fastanchor.settings.problem import Problem, SettingsError
from fastanchor.settings.schema import Config, Document
from fastanchor.settings.tls import check_files
from fastanchor.settings.validate import validate

FILE = "config.toml"
VARIABLE = "FASTANCHOR_CONFIG"
BUILT_IN = "built-in configuration"
NO_OVERRIDES: Mapping[str, object] = {}

_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def find(environ: Mapping[str, str], directory: Path) -> Path | None:
    """The configuration file of an instance started in `directory`, or None for the built-in default."""
    here = directory / FILE
    if here.is_file():
        return here
    named = environ.get(VARIABLE)
    return Path(named) if named else None


def read(path: Path | None, overrides: Mapping[str, object] = NO_OVERRIDES) -> Config:
    """The checked configuration of a file. Raises SettingsError with every problem.

    `overrides` replace keys of `[server]` and are checked like the file's own (command line options).
    """
    document = parse(_text(path), source(path))
    if overrides:
        server = document.setdefault("server", {})
        if isinstance(server, dict):
            server.update(overrides)
    config, problems = validate(document)
    if config is None:
        raise SettingsError(source(path), problems)
    return config


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    pepper: bytes,
    overrides: Mapping[str, object] = NO_OVERRIDES,
    cards: Mapping[str, ModelCard] = NO_CARDS,
    demo_url: str = DEMO_URL,
    version: int = 0,
) -> Settings:
    """Read, check and compile a file. Raises SettingsError with every problem that one pass can find."""
    settings = compile_settings(
        read(path, overrides),
        environ,
        read_secret,
        pepper=pepper,
        source=source(path),
        cards=cards,
        demo_url=demo_url,
        version=version,
    )
    if settings.server.tls is not None and (problems := list(check_files(settings.server.tls))):
        raise SettingsError(source(path), problems)
    return settings


def check(path: Path | None, environ: Mapping[str, str]) -> list[Problem]:
    """What is wrong with a configuration; empty when an instance could start with it."""
    try:
        load(path, environ, pepper=b"")
    except SettingsError as error:
        return list(error.problems)
    return []


def source(path: Path | None) -> str:
    """What messages call a configuration."""
    return BUILT_IN if path is None else str(path)


def read_secret(path: str) -> str:
    """The text of a secret file. Raises OSError, UnicodeDecodeError."""
    return Path(path).read_text(encoding="utf-8")


def parse(text: str, source: str) -> Document:
    """Parse TOML. Raises SettingsError that names the line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(source, [_syntax(str(error))]) from None
    except (RecursionError, ValueError):  # nested thousands deep; a number of thousands of digits
        raise SettingsError(source, [Problem("", "not TOML: a value is too deep or too long")]) from None


def _syntax(message: str) -> Problem:
    match = _POSITION.search(message)
    if match is None or match[1] is None:
        return Problem("", f"not TOML: {message}")
    return Problem(f"line {match[1]}, column {match[2]}", f"not TOML: {message[: match.start()]}")


def _text(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        problem = Problem("", f"cannot read the file: {error.strerror or type(error).__name__}")
    except UnicodeDecodeError:
        problem = Problem("", "not TOML: the file is not UTF-8 text")
    raise SettingsError(source(path), [problem])
