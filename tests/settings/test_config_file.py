"""`config.toml` at the top of the repository is the documentation of every key: complete, valid, and true."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from fastanchor.settings import schema
from fastanchor.settings.load import check, load, read
from fastanchor.settings.server import NOT_YET
from fastanchor.settings.validate import validate

FILE = Path(__file__).parents[2] / "config.toml"
ENVIRON = {
    "FASTANCHOR_ADMIN_KEY": "admin-secret",
    "FASTANCHOR_DEV_KEY": "dev-secret",
    "OPENAI_API_KEY": "openai-secret",
}


def uncommented() -> str:
    """The file with every setting that is left out taken in."""
    return re.sub(r"^#(?=[^ \n])", "", FILE.read_text(), flags=re.MULTILINE)


def everything() -> schema.Config:
    config, problems = validate(tomllib.loads(uncommented()))
    assert problems == []
    assert config is not None
    return config


def test_the_file_is_the_built_in_default() -> None:
    assert read(FILE) == schema.Config()


def test_the_file_compiles_to_the_built_in_default() -> None:
    assert load(FILE, {}, pepper=b"p") == load(None, {}, pepper=b"p")


def test_every_setting_that_is_left_out_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    authority = trustme.CA()
    authority.cert_pem.write_to_path("clients.pem")
    for certificate, key in (("cert.pem", "key.pem"), ("b.pem", "b-key.pem")):
        pair = authority.issue_cert("example.com")
        pair.cert_chain_pems[0].write_to_path(certificate)
        pair.private_key_pem.write_to_path(key)
    path = tmp_path / "config.toml"
    path.write_text(uncommented())
    assert check(path, ENVIRON) == []


def sections() -> Iterator[tuple[str, type[msgspec.Struct], Any]]:
    """(name, struct, the table as uncommented) of every section of the file."""
    table = tomllib.loads(uncommented())
    yield "", schema.Config, table
    yield "server", schema.Server, table["server"]
    yield "server.tls", schema.Tls, table["server"]["tls"]
    yield "server.tls.certificates", schema.Certificate, table["server"]["tls"]["certificates"][0]
    yield "server.limits", schema.Limits, table["server"]["limits"]
    yield "admin", schema.Admin, table["admin"]
    yield "keys", schema.Key, table["keys"][0]
    yield "plans", schema.Plan, table["plans"]["free"]
    yield "organizations", schema.Organization, table["organizations"]["acme"]
    yield "channels", schema.Channel, table["channels"][0]
    yield "channels.timeouts", schema.Timeouts, table["channels"][0]["timeouts"]
    yield "routes", schema.Route, table["routes"][0]
    yield "routes.hedge", schema.Hedge, table["routes"][0]["hedge"]
    yield "prices", schema.Price, table["prices"]["gpt-4o"]
    yield "cors", schema.Cors, table["cors"]
    yield "responses", schema.Responses, table["responses"]


@pytest.mark.parametrize(("name", "struct", "table"), [pytest.param(*row, id=row[0] or "file") for row in sections()])
def test_every_key_of_the_schema_is_documented(name: str, struct: type[msgspec.Struct], table: dict[str, Any]) -> None:
    reserved = NOT_YET if name == "server" else ()
    assert sorted(table) == sorted(field for field in struct.__struct_fields__ if field not in reserved)


def test_reserved_keys_are_named_in_the_file() -> None:
    for name in NOT_YET:
        assert f"server.{name}" in FILE.read_text()


@pytest.mark.parametrize(
    ("shown", "default"),
    [
        (everything().channels[0].timeouts, schema.Timeouts()),
        (everything().routes[0].hedge, schema.Hedge()),
        (
            everything().routes[0],
            schema.Route(model="gpt-4o", fallback_models=["gpt-4.1"], channels=["openai-main"]),
        ),
    ],
    ids=["timeouts", "hedge", "route"],
)
def test_defaults_shown_in_comments_are_the_ones_in_code(shown: object, default: object) -> None:
    assert shown == default


def test_scalar_defaults_of_a_commented_channel_key_and_plan_are_the_ones_in_code() -> None:
    config = everything()
    channel, key, plan = config.channels[0], config.keys[0], config.plans["free"]
    default = schema.Channel(name="x", provider="openai", models="*")
    assert [getattr(channel, n) for n in ("weight", "tier", "max_concurrency", "http2", "verify_tls")] == [
        getattr(default, n) for n in ("weight", "tier", "max_concurrency", "http2", "verify_tls")
    ]
    assert (key.organization, key.scopes) == ("default", ["inference"])
    assert (plan.cap_max_tokens, plan.priority, plan.markup_percent) == (False, 0, 0.0)
