"""What the recipes write is what the gateways understand."""

from __future__ import annotations

from pathlib import Path

from bench.recipes import RECIPES, Place, Setup
from bench.rig import KEY
from fastanchor.settings.load import read


def test_fastanchor_understands_its_configuration(tmp_path: Path) -> None:
    command = RECIPES["fastanchor"].prepare(Place(tmp_path, 18080, 18081))
    config = read(Path(command[command.index("--config") + 1]))
    assert {channel.provider: channel.base_url for channel in config.channels} == {
        "openai": "http://127.0.0.1:18081/v1", "anthropic": "http://127.0.0.1:18081", "gemini": "http://127.0.0.1:18081",
    }  # fmt: skip
    assert [(route.model, route.channels) for route in config.routes] == [
        ("*-anthropic", ["anthropic"]), ("*-gemini", ["gemini"]), ("*", ["openai"]),
    ]  # fmt: skip
    assert [key.key for key in config.keys] == [KEY]
    assert command[-2:] == ["--listen", "127.0.0.1:18080"]
    assert config.server.workers == 1


def test_fastanchor_can_have_more_workers_and_ask_nobody_for_a_key(tmp_path: Path) -> None:
    command = RECIPES["fastanchor"].prepare(Place(tmp_path, 18080, 18081, Setup(workers=2, auth=False)))
    config = read(Path(command[command.index("--config") + 1]))
    assert (config.server.workers, config.server.auth, config.keys) == (2, False, [])
