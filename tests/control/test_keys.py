"""Keys over HTTP: what is shown, who may, and that nobody grants more than they have."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import orjson
import pytest

from fastanchor.core.principal import Plan, Principal
from tests.control.asgi import OPERATOR, PLANS, Desk, as_caller

KEYS = "/v1/organizations/acme/api-keys"
ADMIN = Principal(
    "config:boss", "boss", "acme", frozenset({"inference", "admin"}), models=("gpt-*",),
    endpoints=("/v1/chat/completions", "/v1/organizations/*"), plan=PLANS["paid"],
    limits=Plan("boss", requests_per_minute=50), expires=4e9, addresses=("10.0.0.0/8",),
)
USER = ["config:user", "acme", ["inference"]]
STRANGER = ["config:other", "other", ["inference", "admin"]]


@pytest.fixture
def office(office: Desk) -> Desk:
    office.holders.append(ADMIN)
    return office


async def made(office: Desk, **changes: object) -> dict[str, Any]:
    status, key = await office.ask("POST", KEYS, OPERATOR, {"name": "app", **changes})
    assert status == 201
    return key  # type: ignore[no-any-return]


async def test_a_key_is_shown_once(office: Desk) -> None:
    key = await made(office, plan="paid", permissions=["inference", "models"], rate_limit=7)
    assert key["key"].startswith(f"fa-{key['id']}-")
    assert key["permissions"] == ["inference", "models"]
    assert key["limits"] == {"requests_per_minute": 7}
    for target in (KEYS, f"{KEYS}/{key['id']}"):
        status, raw = await office.raw("GET", target, OPERATOR, b"")
        assert status == 200
        assert key["id"].encode() in raw
        assert key["key"].rpartition("-")[2].encode() not in raw


async def test_rotation_keeps_the_old_secret_for_the_overlap(office: Desk) -> None:
    key = await made(office)
    status, new = await office.ask("POST", f"{KEYS}/{key['id']}/rotate", OPERATOR, {"overlap": 60})
    assert (status, new["id"]) == (200, key["id"])
    assert new["key"] != key["key"]
    office.ring.refresh()
    ends = sorted((principal.expires or 1e99) for principal in office.ring.keys.values())
    assert len(ends) == 2
    assert ends[0] == pytest.approx(time.time() + 60, abs=10)


async def test_a_deleted_key_is_gone_at_once_and_for_good(office: Desk) -> None:
    key = await made(office)
    target = f"{KEYS}/{key['id']}"
    assert (await office.ask("DELETE", target, OPERATOR))[0] == 200
    office.ring.refresh()
    assert office.ring.keys == {}
    assert (await office.ask("DELETE", target, OPERATOR))[0] == 404
    assert (await office.ask("POST", f"{target}/rotate", OPERATOR, {}))[0] == 404
    assert (await office.ask("GET", KEYS, OPERATOR))[1]["data"] == []


async def test_an_admin_key_grants_what_it_has(office: Desk) -> None:
    status, key = await office.ask("POST", KEYS, as_caller(ADMIN), {"name": "app"})
    assert status == 201
    assert key["organization"] == "acme"
    assert key["plan"] == "paid"
    assert key["permissions"] == ["inference"]
    assert key["models"] == ["gpt-*"]
    assert key["limits"] == {"requests_per_minute": 50}
    assert key["expires"] == 4e9
    assert key["addresses"] == ["10.0.0.0/8"]
    assert key["created_by"] == "config:boss"


@pytest.mark.parametrize(
    "wider",
    [
        {"models": ["claude-*"]}, {"models": ["*"]}, {"models": []}, {"endpoints": ["/v1/embeddings"]},
        {"endpoints": ["*"]}, {"plan": "free"}, {"plan": ""}, {"limits": {"requests_per_minute": 51}},
        {"rate_limit": 51}, {"expires": 5e9}, {"addresses": ["0.0.0.0/0"]}, {"addresses": ["11.0.0.0/8"]},
    ],
)  # fmt: skip
async def test_a_grant_is_a_part_of_the_grantors(office: Desk, wider: dict[str, object]) -> None:
    status, answer = await office.ask("POST", KEYS, as_caller(ADMIN), {"name": "app", **wider})
    assert status == 403, answer
    assert office.store.list() == []


@pytest.mark.parametrize(
    "document",
    [
        {}, {"name": ""}, {"name": 5}, {"name": None}, {"name": "a\nb"}, {"name": "x" * 201},
        {"name": "a", "is_admin": True}, {"name": "a", "organization": "other"}, {"name": "a", "id": "x"},
        {"name": "a", "scope": ["admin"]}, {"name": "a", "created_by": ""}, {"name": "a", "digest": "00"},
        {"name": "a", "permissions": "admin"}, {"name": "a", "permissions": ["root"]}, {"name": "a", "permissions": []},
        {"name": "a", "limits": {"credits": 5}}, {"name": "a", "limits": {"markup": 0}}, {"name": "a", "limits": [1]},
        {"name": "a", "rate_limit": -1}, {"name": "a", "rate_limit": 1.5}, {"name": "a", "rate_limit": "5"},
        {"name": "a", "rate_limit": True}, {"name": "a", "rate_limit": 2**63}, {"name": "a", "rate_limit": 1e308},
        {"name": "a", "expires": 1}, {"name": "a", "expires": "never"}, {"name": "a", "expires": True},
        {"name": "a", "addresses": ["here"]}, {"name": "a", "models": [5]}, {"name": "a", "plan": "nothing"},
        [1], "text", 5,
    ],
)  # fmt: skip
async def test_what_is_wrong_is_refused_and_changes_nothing(office: Desk, document: object) -> None:
    for caller in (OPERATOR, as_caller(ADMIN)):
        status, answer = await office.ask("POST", KEYS, caller, document)
        assert status in (400, 403), answer
        assert answer["error"]["message"]
    assert office.store.list() == []


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"name":NaN}', b'{"name":"a"', b"[" * 100_000])
async def test_a_body_that_is_no_json_is_refused(office: Desk, body: bytes) -> None:
    assert (await office.raw("POST", KEYS, OPERATOR, body))[0] == 400


@pytest.mark.parametrize("caller", [USER, ["config:t", "acme", ["training", "models"]]])
async def test_keys_need_the_scope_admin(office: Desk, caller: list[Any]) -> None:
    key = await made(office)
    for method, target in (
        ("POST", KEYS), ("GET", KEYS), ("GET", f"{KEYS}/{key['id']}"), ("DELETE", f"{KEYS}/{key['id']}"),
        ("POST", f"{KEYS}/{key['id']}/rotate"),
    ):  # fmt: skip
        assert (await office.ask(method, target, caller, {"name": "a"}))[0] == 403
    assert len(office.store.list()) == 1


async def test_an_admin_that_is_not_known_any_more_makes_no_keys(office: Desk) -> None:
    assert (await office.ask("POST", KEYS, ["config:gone", "acme", ["admin"]], {"name": "a"}))[0] == 403


async def test_other_organizations_keys_do_not_exist(office: Desk) -> None:
    """Told in the same words as of keys that nobody has."""
    theirs = await made(office)
    own = "/v1/organizations/other/api-keys"
    answers = set()
    for id in (theirs["id"], "nothing", "' OR 1=1 --", "%"):
        for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
            answer = await office.raw(method, f"{own}/{id}{rest}", STRANGER, b"{}")
            answers.add((answer[0], answer[1]))
    assert len(answers) == 1
    foreign = [await office.raw("GET", f"/v1/organizations/{name}/api-keys", STRANGER, b"") for name in ("acme", "no")]
    assert foreign[0] == foreign[1]
    assert foreign[0][0] == 404
    assert (await office.ask("GET", f"{KEYS}/{theirs['id']}", OPERATOR))[1]["revoked"] is None


@pytest.mark.parametrize(
    "text", ["{{7*7}}", "${7*7}", "__class__", "'; DROP TABLE key; --", "<script>", "%s%n", "a' OR '1'='1", "=1+1"]
)
async def test_text_is_stored_as_it_is(office: Desk, text: str) -> None:
    key = await made(office, name=text, models=[text])
    shown = (await office.ask("GET", f"{KEYS}/{key['id']}", OPERATOR))[1]
    assert shown["name"] == text
    assert shown["models"] == [text]


async def test_no_answer_tells_who_holds_a_secret_of_another_key(office: Desk) -> None:
    first, second = await made(office, name="one"), await made(office, name="two")
    page = orjson.dumps((await office.ask("GET", KEYS, as_caller(ADMIN)))[1])
    for key in (first, second):
        assert key["key"].rpartition("-")[2].encode() not in page


async def test_unknown_methods_are_refused(office: Desk) -> None:
    for method in ("PUT", "PATCH", "DELETE"):
        assert (await office.ask(method, KEYS, OPERATOR, {}))[0] == 405


async def test_a_key_made_by_a_key_of_the_store_is_narrower_still(office: Desk) -> None:
    boss = await made(office, permissions=["admin"], plan="paid", models=["gpt-4*"])
    caller = [boss["id"], "acme", ["admin"]]
    assert (await office.ask("POST", KEYS, caller, {"name": "b", "models": ["gpt-*"]}))[0] == 403
    status, key = await office.ask("POST", KEYS, caller, {"name": "b", "models": ["gpt-4o"]})
    assert (status, key["plan"], key["models"]) == (201, "paid", ["gpt-4o"])
    office.holders[0] = replace(ADMIN)


async def test_a_key_made_under_no_plan_has_none_either(office: Desk) -> None:
    office.holders.append(Principal("config:free", "free", "acme", frozenset({"admin"})))
    status, key = await office.ask("POST", KEYS, ["config:free", "acme", ["admin"]], {"name": "app"})
    assert (status, key["plan"]) == (201, "")
    office.ring.refresh()
    assert [principal.key_id for principal in office.ring.keys.values()] == [key["id"]]
