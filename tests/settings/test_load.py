"""Where the configuration is found, and how reading it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastanchor.settings.load import check, find, load, read
from fastanchor.settings.problem import SettingsError


def test_the_file_in_the_directory_wins_over_the_variable(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    assert find({"FASTANCHOR_CONFIG": "/elsewhere.toml"}, tmp_path) == tmp_path / "config.toml"


def test_the_variable_names_the_file_where_the_directory_has_none(tmp_path: Path) -> None:
    assert find({"FASTANCHOR_CONFIG": "/elsewhere.toml"}, tmp_path) == Path("/elsewhere.toml")


@pytest.mark.parametrize("environ", [{}, {"FASTANCHOR_CONFIG": ""}])
def test_without_either_the_default_is_built_in(environ: dict[str, str], tmp_path: Path) -> None:
    assert find(environ, tmp_path) is None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "gone.toml"
    assert [str(p) for p in check(path, {})] == ["cannot read the file: No such file or directory"]


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert [str(p) for p in check(tmp_path, {})] == ["cannot read the file: Is a directory"]


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe")
    assert [str(p) for p in check(path, {})] == ["not TOML: the file is not UTF-8 text"]


@pytest.mark.parametrize("text", ["x = " + "[" * 100_000, "x = " + "1" * 10_000], ids=["deep", "long"])
def test_hostile_toml_is_an_error_like_any_other(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    assert [str(p) for p in check(path, {})] == ["not TOML: a value is too deep or too long"]


def test_an_error_names_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text("[server]\nworkers = -1\n[cors]\nmax_age = -1\n")
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: server.workers: expected int >= 0 and <= 1024, got -1\n"
        f"{path}: cors.max_age: expected int >= 0 and <= 86400, got -1"
    )


def test_command_line_options_override_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[server]\nworkers = 1\nstate_dir = './s'\n")
    server = read(path, {"workers": 4, "listen": ["127.0.0.1:0"]}).server
    assert (server.workers, server.listen, server.state_dir) == (4, ["127.0.0.1:0"], "./s")


def test_command_line_options_are_checked_like_the_file() -> None:
    with pytest.raises(SettingsError, match=r"^built-in configuration: server.listen\[0\]: expected \"host:port\""):
        load(None, {}, pepper=b"", overrides={"listen": ["nowhere"]})


def test_a_server_that_is_no_table_is_reported_with_overrides_too(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("server = 5\n")
    with pytest.raises(SettingsError, match="server: expected a table, got 5"):
        read(path, {"workers": 4})


def test_a_secret_file_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("from-a-file\n")
    path = tmp_path / "config.toml"
    path.write_text(f'[[channels]]\nname = "a"\nprovider = "openai"\nmodels = "*"\nkeys = ["file:{secret}"]\n')
    assert load(path, {}, pepper=b"").snapshot.channels[0].keys == ("from-a-file",)
