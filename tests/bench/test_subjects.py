"""What the recipes write is what the gateways understand."""

from __future__ import annotations

from pathlib import Path

from bench.rig import KEY
from bench.subjects import RECIPES, Place
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
    assert command[-4:] == ["--listen", "127.0.0.1:18080", "--workers", "1"]
