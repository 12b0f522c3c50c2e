"""Shared switches of the suite: the Hypothesis profile, slow tests, and where the recordings are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("ci", max_examples=60, derandomize=True, deadline=None,
                          suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", max_examples=5000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

RECORDINGS = Path(os.environ.get("FASTANCHOR_RECORDINGS", Path(__file__).parents[2] / "shared" / "fixtures"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run long soaks and fuzz campaigns")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="needs --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded provider responses; absent ones skip, except in CI, where they must be found."""
    if not RECORDINGS.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"recordings are missing: {RECORDINGS}")
        pytest.skip(f"no recordings at {RECORDINGS}")
    return RECORDINGS
