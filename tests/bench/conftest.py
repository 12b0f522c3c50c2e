"""The native programs, compiled once, and a running rig."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from bench import rig
from bench.build import Native, build


@pytest.fixture(scope="session")
def native() -> Native:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return build()


@pytest.fixture
def running(native: Native) -> Iterator[rig.Rig]:
    with rig.running(native) as found:
        yield found
