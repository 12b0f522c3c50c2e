"""The doors of a gateway: files that its program takes, and what h2load says of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bench.doors import DONE, DOORS, Door, put_on
from bench.recipes import RECIPES, Place
from fastanchor.settings.load import load
from tests.kit.binary import free_port

every = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)


@pytest.fixture(autouse=True)
def openssl() -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")


@every
def test_nginx_takes_its_file(door: Door, tmp_path: Path) -> None:
    recipe = RECIPES["nginx"]
    if recipe.missing():
        pytest.skip("nginx is not installed")
    place = Place(tmp_path, free_port(), 9)
    command = recipe.prepare(place)
    put_on(door, recipe, place)
    words = (tmp_path / "nginx.conf").read_text().split("listen ")[1].split(";")[0].split()
    assert ("ssl" in words, "http2" in words) == (door.tls, door.h2)
    subprocess.run([*command, "-t"], check=True, capture_output=True)


@every
def test_fastanchor_takes_its_file(door: Door, tmp_path: Path) -> None:
    recipe, place = RECIPES["fastanchor"], Place(tmp_path, free_port(), 9)
    recipe.prepare(place)
    put_on(door, recipe, place)
    assert (load(tmp_path / "config.toml", {}, pepper=b"p").server.tls is not None) == door.tls


def test_what_h2load_says() -> None:
    said = "requests: 20 total, 20 started, 20 done, 19 succeeded, 1 failed, 0 errored, 0 timeout"
    found = DONE.search(said)
    assert found is not None
    assert found.groups() == ("20", "19", "1", "0")
