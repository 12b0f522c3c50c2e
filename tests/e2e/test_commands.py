"""The commands around the books, on a state directory that no instance runs on, and beside one that runs."""

from __future__ import annotations

import csv
import io
import socket
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from fastanchor.cli import main
from fastanchor.store.journal import Journal
from fastanchor.store.records import settle_line
from tests.kit.binary import fastanchor
from tests.kit.fire import ask, until
from tests.kit.receipts import frame, opened, receipt

CONFIG = """
[server]
workers = 2
auth = true
access_log = "off"
key_prefix = "anz"

[plans.free]
requests_per_minute = 100
credits_usd = 5.0

[[channels]]
name = "demo"
provider = "demo"
models = "*"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "fastanchor.toml"
    path.write_text(CONFIG)
    return path


def run(file: Path, *words: str) -> Result:
    command = words[:2] if words[0] in ("keys", "credits", "ledger") else words[:1]
    return CliRunner().invoke(main, [*command, "--config", str(file), *words[len(command) :]])


def good(file: Path, *words: str) -> str:
    done = run(file, *words)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_key_is_shown_once_and_listed_without_its_secret(file: Path) -> None:
    options = ("--organization", "acme", "--plan", "free", "--scope", "inference", "--scope", "models")
    narrow = ("--model", "gpt-*", "--endpoint", "/v1/chat/*", "--address", "10.1.2.3/8", "--limit", "tokens_per_day=5")
    key = good(file, "keys", "create", "--name", "team-a", *options, *narrow, "--expires-in", "7").strip()
    prefix, public, secret = key.split("-")
    assert (prefix, len(secret)) == ("anz", 43)
    listed = good(file, "keys", "list")
    assert listed.split() == [public, "acme", "team-a", "inference,models", "active"]
    for path in (file.parent / "state").rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--plan", "gone"), "there is no plan 'gone'"),
        (("--scope", "root"), "scopes: expected some of"),
        (("--address", "everywhere"), "addresses: expected networks"),
        (("--limit", "requests_per_minute=many"), "expected NAME=NUMBER"),
        (("--limit", "requests_per_second=1"), "expected NAME=NUMBER"),
        (("--expires-in", "-1"), "a time in the future"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_in_a_line(file: Path, options: tuple[str, ...], complaint: str) -> None:
    done = run(file, "keys", "create", "--name", "x", *options)
    assert done.exit_code == 1
    assert complaint in done.stderr
    assert good(file, "keys", "list") == ""


def test_a_revoked_key_is_listed_when_asked_for(file: Path) -> None:
    public = good(file, "keys", "create", "--name", "a").split("-")[1]
    assert good(file, "keys", "revoke", public) == f"revoked {public}\n"
    assert good(file, "keys", "list") == ""
    assert "revoked" in good(file, "keys", "list", "--revoked")
    assert run(file, "keys", "revoke", public).exit_code == 1
    assert run(file, "keys", "rotate", public).exit_code == 1


def test_credits_are_given_once_per_id(file: Path) -> None:
    assert "acme $2.500000" in good(file, "credits", "add", "acme", "2.50", "--id", "invoice-7")
    assert "was given before" in good(file, "credits", "add", "acme", "2.50", "--id", "invoice-7")
    assert "available $2.500000" in good(file, "credits", "list")
    good(file, "credits", "add", "--id", "back", "--", "acme", "-1")
    assert "available $1.500000" in good(file, "credits", "list")
    assert run(file, "credits", "add", "acme", "much").exit_code == 1


@pytest.fixture
def used(file: Path) -> Path:
    """One settled request in the journals, and its organisation's credits."""
    good(file, "credits", "add", "acme", "1")
    journal = Journal(file.parent / "state" / "journal", "0001-0-1")
    journal.require(frame(opened()))
    journal.note(settle_line(receipt(), metered=True, at=1_780_000_002.0))
    journal.close()
    return file


def test_the_books_are_verified_and_a_lie_is_found(used: Path) -> None:
    assert "sound" in good(used, "ledger", "verify")
    import apsw

    with apsw.Connection(str(used.parent / "state" / "ledger.db")) as db:
        db.execute("UPDATE request SET cost = cost + 1")
    done = run(used, "ledger", "verify")
    assert done.exit_code == 1
    assert "NOT SOUND" in done.stdout
    assert "cost 500, in the ledger 501" in done.stderr


def test_usage_and_exports_tell_every_request(used: Path) -> None:
    good(used, "ledger", "verify")  # folds
    assert good(used, "usage", "--by", "day,key,model").split("  ") == [
        "2026-05-28", "k1", "gpt-4o", "1 requests", "90 in, 50 out", "$0.000500\n",
    ]  # fmt: skip
    (row,) = [orjson.loads(line) for line in good(used, "ledger", "export").splitlines()]
    (cells,) = csv.DictReader(io.StringIO(good(used, "ledger", "export", "--format", "csv")))
    for told in (row, cells):
        assert (told["id"], told["organization"], str(told["cost"])) == ("req_1", "acme", "500")
    assert [attempt["outcome"] for attempt in row["attempts"]] == ["upstream_error", "won"]
    assert orjson.loads(cells["attempts"]) == row["attempts"]


@pytest.mark.parametrize("kept", [False, True])
def test_bodies_are_kept_only_when_the_operator_turns_them_on(file: Path, kept: bool) -> None:
    settings = f"{CONFIG}\n[ledger]\nbodies = {str(kept).lower()}\n[admin]\nkey = 'sk-admin'\n"
    with fastanchor(file.parent, settings) as binary:
        for stream in (False, True, False):
            with socket.create_connection(("127.0.0.1", binary.port), timeout=10) as sock:
                assert ask(sock, "demo-n1", stream=stream, key="sk-admin") == ("200", True)

        def rows() -> list[dict[str, object]]:
            found: list[dict[str, object]] = orjson.loads(binary.get("/admin/requests", "sk-admin")[1])["data"]
            return found

        until(lambda: len(rows()) == 3, "the requests are not in the log")
        pages = [orjson.loads(binary.get(f"/admin/requests/{row['id']}", "sk-admin")[1]) for row in rows()]
    assert [("bodies" in page) for page in pages] == [kept] * 3
    if kept:
        assert all("Hello" in page["bodies"]["request"] for page in pages)
        assert ["[DONE]" in page["bodies"]["answer"] for page in pages] == [False, True, False]
    assert (file.parent / "state" / "bodies").exists() is kept


def test_a_running_instance_follows_the_commands(file: Path) -> None:
    with fastanchor(file.parent, CONFIG) as binary:

        def status(key: str) -> str:
            with socket.create_connection(("127.0.0.1", binary.port), timeout=10) as sock:
                return ask(sock, "demo-n1", stream=False, key=key)[0]

        key = good(file, "keys", "create", "--name", "cli", "--plan", "free").strip()
        until(lambda: status(key) == "200", "the new key is not let in", 5)
        new = good(file, "keys", "rotate", key.split("-")[1], "--overlap", "0").strip()
        until(lambda: status(key) == "401", "the old secret is still let in", 5)
        until(lambda: status(new) == "200", "the new secret is not let in", 5)
        good(file, "keys", "revoke", key.split("-")[1])
        until(lambda: status(new) == "401", "a revoked key is still let in", 5)
