"""Both halves of a compiled module as test parameters, and the ways to hand them bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeAlias

import pytest

from fastanchor._speedups import PURE_WANTED

Kind: TypeAlias = Callable[[bytes], bytes | bytearray | memoryview]
KINDS: tuple[Kind, ...] = (bytes, bytearray, memoryview)


def halves(name: str) -> list[Any]:
    """The pure and the compiled half of module `name`; one that was not built is skipped, one not wanted left out."""
    pure = _half(f"_{name}_pure", "pure")
    return [pure] if PURE_WANTED else [pure, _half(f"_{name}", "compiled")]


def _half(module: str, name: str) -> Any:
    path = f"fastanchor._speedups.{module}"
    if find_spec(path) is None:
        return pytest.param(None, id=name, marks=pytest.mark.skip(reason=f"{path} is not built"))
    return pytest.param(import_module(path), id=name)


def both(name: str) -> tuple[ModuleType, ModuleType]:
    """The pure and the compiled half, for tests that compare them."""
    if find_spec(f"fastanchor._speedups._{name}") is None:
        pytest.skip(f"the compiled half of {name} is not built")
    return (
        import_module(f"fastanchor._speedups._{name}_pure"),
        import_module(f"fastanchor._speedups._{name}"),
    )


def pieces(stream: bytes, size: int) -> Iterator[bytes]:
    """The stream in reads of `size` bytes."""
    for at in range(0, len(stream), size):
        yield stream[at : at + size]
