"""One instance with a channel for each language a provider can speak, and the programs that only CI installs.

The demo provider speaks every dialect; a channel's option `dialect` pins one, so that the model `NAME/demo…` is served
by a provider that speaks NAME, whatever its client speaks. `FASTANCHOR_INTEROP` is a directory made by
`tests/interop/install.sh`; without it, what needs another library than the test extra has is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.binary import Binary, fastanchor

PROVIDERS = ("openai_chat", "openai_responses", "openai_completions", "anthropic", "gemini")
TOOLED = tuple(name for name in PROVIDERS if name != "openai_completions")


def config() -> str:
    """A file with one channel per language. Models are `NAME-demo`, for they stand in a path in one of the dialects."""
    channels = [
        f'[[channels]]\nname = "{name}"\nprovider = "demo"\nmodels = {{ "{name}-demo" = "demo-fast" }}\n'
        f'options = {{ dialect = "{name}" }}\n'
        for name in PROVIDERS
    ]
    return '[server]\nauth = false\naccess_log = "text"\n' + "".join(channels)


@pytest.fixture(scope="session")
def polyglot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Binary]:
    with fastanchor(tmp_path_factory.mktemp("polyglot"), config()) as binary:
        yield binary


@pytest.fixture(scope="session")
def programs() -> Path:
    """The directory with the other libraries."""
    place = os.environ.get("FASTANCHOR_INTEROP")
    if not place:
        pytest.skip("FASTANCHOR_INTEROP is not set: tests/interop/install.sh makes that directory")
    if not Path(place, "done").exists():
        pytest.fail(f"{place} is not complete: run tests/interop/install.sh {place}")
    return Path(place)
