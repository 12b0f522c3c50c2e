"""The wire on either half of `http1`."""

from __future__ import annotations

from types import ModuleType

import pytest

from fastanchor.wire import client_h1, exchange_h1, server_h1
from tests.speedups.halves import halves


@pytest.fixture(params=halves("http1"))
def half(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The wire runs on this half of `http1` for the length of the test."""
    module: ModuleType = request.param
    for user in (client_h1, exchange_h1, server_h1):
        for name in ("ChunkDecoder", "chunk", "parse_request", "parse_response", "request_head", "response_head"):
            if hasattr(user, name):
                monkeypatch.setattr(user, name, getattr(module, name))
    return module
