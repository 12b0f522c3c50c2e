"""One instance on the demo provider for the whole session of end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.binary import Binary, fastanchor

CONFIG = """
[server]
auth = true

[[keys]]
name = "dev"
key = "sk-test"

[[keys]]
name = "trainer"
key = "sk-trainer"
scopes = ["training"]

[[keys]]
name = "narrow"
key = "sk-narrow"
models = ["demo-fast"]

[[channels]]
name = "demo"
provider = "demo"
models = ["demo", "demo-fast", "demo-*"]
"""


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Binary]:
    with fastanchor(tmp_path_factory.mktemp("instance"), CONFIG) as binary:
        yield binary
