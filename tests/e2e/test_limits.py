"""Keys, plans and limits as clients meet them: one instance with four workers, every dialect, every role."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import cycle

import orjson
import pytest

from fastanchor.dialects.registry import ENDPOINTS
from fastanchor.runtime.forward import EXACT, OPEN, PREFIXES
from fastanchor.runtime.probes import PATHS
from tests.kit.binary import Binary, fastanchor
from tests.kit.fire import until

CONFIG = """
[server]
workers = 4
access_log = "off"
auth = true

[admin]
key = "sk-operator"

[plans.five_hundred]
requests_per_minute = 500

[plans.small]
requests_per_minute = 2
tokens_per_minute = 100_000
concurrent_requests = 10

[plans.poor]
requests_per_day = 1000
credits_usd = 0.01

[plans.few]
credits_usd = 0.1

[plans.strict]
max_tokens_per_request = 100

[plans.capped]
max_tokens_per_request = 7
cap_max_tokens = true

[plans.chat_only]
models = ["demo-fast"]
endpoints = ["/v1/chat/completions"]

[organizations.team]
requests_per_minute = 30

[organizations.fund]
credits_usd = 0.1

[[channels]]
name = "demo"
provider = "demo"
models = "*"

[prices.demo-n1]
input = 1.0
output = 2000.0
"""
KEYS = [
    ("burst", "five_hundred", "acme", "inference"), ("chat", "small", "acme", "inference"),
    ("messages", "small", "acme", "inference"), ("gemini", "small", "acme", "inference"),
    ("poor", "poor", "poor", "inference"), ("few", "few", "few", "inference"),
    ("strict", "strict", "acme", "inference"),
    ("capped", "capped", "acme", "inference"), ("narrow", "chat_only", "acme", "inference"),
    ("user", "", "acme", "inference"), ("trainer", "", "acme", "training"), ("boss", "", "acme", "admin"),
    ("rival", "", "rival", "admin"), ("one", "", "team", "inference"), ("two", "", "team", "inference"),
    ("funded", "", "fund", "inference"), ("quiet", "small", "quiet", "inference"),
]  # fmt: skip


def config() -> str:
    text = CONFIG
    for name, plan, organization, scope in KEYS:
        text += f'\n[[keys]]\nname = "{name}"\nkey = "sk-{name}"\norganization = "{organization}"\n'
        text += f'scopes = ["{scope}"]\n'
        text += f'plan = "{plan}"\n' if plan else ""
    text += '\n[[keys]]\nname = "elsewhere"\nkey = "sk-elsewhere"\naddresses = ["10.0.0.0/8"]\n'
    text += '\n[[keys]]\nname = "over"\nkey = "sk-over"\nexpires = 2020-01-01T00:00:00Z\n'
    return text


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Binary]:
    with fastanchor(tmp_path_factory.mktemp("limited"), config()) as binary:
        yield binary


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.fields = {name.lower(): value for name, value in response.getheaders()}
        self.raw = response.read()

    @property
    def body(self) -> dict[str, object]:
        found: dict[str, object] = orjson.loads(self.raw)
        return found

    def error(self, name: str) -> object:
        error = self.body["error"]
        assert isinstance(error, dict)
        return error.get(name)


SOURCES = cycle(range(2, 250))


def ask(
    binary: Binary, path: str, key: str, body: object = None, method: str = "", source: str = "", **fields: str
) -> Answer:
    """One request, each from an address of its own unless one is named: so nobody pays for others' wrong keys."""
    source = source or f"127.0.0.{next(SOURCES)}"
    connection = http.client.HTTPConnection("127.0.0.1", binary.port, timeout=30, source_address=(source, 0))
    try:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        data = None if body is None else orjson.dumps(body)
        connection.request(method or ("GET" if data is None else "POST"), path, data, {**headers, **fields})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def chat(model: str = "demo-fast", **more: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, **more}


CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GEMINI = "/v1beta/models/demo-fast:generateContent"
ASK_GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def test_four_workers_admit_five_hundred_a_minute_and_no_more(limited: Binary) -> None:
    """At the burst the count is exact: whatever the limit gives back meanwhile is known from the time that passed. Half
    of the clients keep their connections."""
    statuses: Counter[int] = Counter()
    lock = threading.Lock()
    began = time.monotonic()

    def client(keeps: bool) -> None:
        body = orjson.dumps(chat("demo-n1"))
        headers = {"authorization": "Bearer sk-burst", "content-type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", limited.port, timeout=30)
        for _ in range(75):
            connection.request("POST", CHAT, body, headers)
            answer = connection.getresponse()
            answer.read()
            with lock:
                statuses[answer.status] += 1
            if not keeps:
                connection.close()
        connection.close()

    threads = [threading.Thread(target=client, args=(bool(n % 2),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refilled = (time.monotonic() - began) * 500 / 60
    assert statuses.keys() <= {200, 429}
    assert sum(statuses.values()) == 600
    assert 500 <= statuses[200] <= min(600, 500 + refilled + 1)


def test_four_workers_and_two_keys_admit_what_their_organisation_may_and_no_more(limited: Binary) -> None:
    began = time.monotonic()
    statuses = Counter(ask(limited, CHAT, f"sk-{'one' if n % 3 else 'two'}", chat("demo-n1")).status for n in range(40))
    refilled = (time.monotonic() - began) * 30 / 60
    assert sum(statuses.values()) == statuses[200] + statuses[429] == 40
    assert 30 <= statuses[200] <= 30 + refilled + 1
    refused = ask(limited, CHAT, "sk-two", chat("demo-n1"))
    assert "requests_per_minute = 30 (organization 'team')" in str(refused.error("message"))
    assert refused.fields["x-ratelimit-limit"] == "30"


def test_credits_of_an_organisation_pay_for_its_keys_without_a_plan(limited: Binary) -> None:
    answer = ask(limited, CHAT, "sk-funded", chat("demo-n1", max_tokens=20))
    assert answer.status == 200
    assert answer.fields["x-remaining-credits"] == "0.09"  # what was used is gone, not what was reserved


def test_limit_headers_of_openai(limited: Binary) -> None:
    answers = [ask(limited, CHAT, "sk-chat", chat(stream=i == 1)) for i in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    for left, answer in zip(("1", "0", "0"), answers, strict=True):
        fields = answer.fields
        assert fields["x-ratelimit-limit"] == fields["x-ratelimit-limit-requests"] == "2"
        assert fields["x-ratelimit-remaining"] == fields["x-ratelimit-remaining-requests"] == left
        assert abs(int(fields["x-ratelimit-reset"]) - time.time()) < 65
        assert fields["x-ratelimit-limit-tokens"] == "100000"
        assert int(fields["x-ratelimit-remaining-tokens"]) < 100_000 or answer.status == 429
        assert fields["x-ratelimit-reset-requests"].endswith("s")
        assert fields["x-request-id"] == fields["request-id"]
    refused = answers[2]
    assert 1 <= int(refused.fields["retry-after"]) <= 60
    assert (refused.error("code"), refused.error("type")) == ("rate_limit", "rate_limit_error")
    assert "requests_per_minute = 2" in str(refused.error("message"))
    assert "retry_after" in refused.raw.decode()


def test_limit_headers_of_anthropic(limited: Binary) -> None:
    answers = [ask(limited, MESSAGES, "sk-messages", chat()) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    for answer in answers:
        assert answer.fields["anthropic-ratelimit-requests-limit"] == "2"
        assert answer.fields["anthropic-ratelimit-tokens-limit"] == "100000"
        datetime.fromisoformat(answer.fields["anthropic-ratelimit-requests-reset"])
        assert answer.fields["x-ratelimit-limit"] == "2"
    assert answers[2].body["type"] == "error"
    assert answers[2].error("type") == "rate_limit_error"
    assert "retry-after" in answers[2].fields


def test_limit_headers_of_gemini(limited: Binary) -> None:
    answers = [ask(limited, GEMINI, "", ASK_GEMINI, **{"x-goog-api-key": "sk-gemini"}) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert all(answer.fields["x-ratelimit-limit"] == "2" for answer in answers)
    assert answers[2].error("status") == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/models", None, 200), ("/v1/usage", None, 200), ("/v1/credits", None, 200), (CHAT, {}, 400),
        (CHAT, {"model": 5}, 400), (MESSAGES, {}, 400), ("/admin/channels", None, 403), ("/v1/responses/no", None, 404),
        ("/v1/files", {}, 403),
    ],
)  # fmt: skip
def test_every_answer_to_a_known_key_tells_its_limits(
    limited: Binary, path: str, body: object, status: int
) -> None:
    answer = ask(limited, path, "sk-quiet", body)
    assert answer.status == status
    assert (answer.fields["x-ratelimit-limit"], answer.fields["x-ratelimit-remaining"]) == ("2", "2")
    assert "x-ratelimit-reset" in answer.fields
    requests = "anthropic-ratelimit-requests-remaining" if path == MESSAGES else "x-ratelimit-remaining-requests"
    assert answer.fields[requests] == "2"


def test_credits_run_out_and_are_added(limited: Binary) -> None:
    """A cent pays for an answer or a few; what is told on the way is what is left."""
    left = []
    while (answer := ask(limited, CHAT, "sk-poor", chat("demo-n1", max_tokens=1))).status == 200:
        left.append(answer.fields["x-remaining-credits"])
        assert len(left) < 20
    assert left
    assert left == sorted(left, reverse=True)
    assert (answer.status, answer.error("code")) == (402, "insufficient_quota")
    assert "retry-after" not in answer.fields
    assert answer.fields["x-remaining-credits"].startswith(("0.0", "-0.0"))
    anthropic = ask(limited, MESSAGES, "sk-poor", chat("demo-n1"))
    assert (anthropic.status, anthropic.error("type")) == (403, "permission_error")
    grant = {"organization": "poor", "amount_usd": 1}
    assert ask(limited, "/admin/credits", "sk-operator", grant).status == 201
    assert ask(limited, CHAT, "sk-poor", chat("demo-n1")).status == 200


def settled(binary: Binary) -> bool:
    """Whether nothing is held any more, and what is left and what was spent are what there was."""
    account = ask(binary, "/v1/credits", "sk-few").body
    together = account["available"] + account["spent"]  # type: ignore[operator]
    return account["held"] == 0 and together == pytest.approx(0.1)


def test_many_at_once_do_not_spend_more_than_there_is(limited: Binary) -> None:
    """On four workers: who is admitted has its reservation, and the balance never falls below zero."""
    statuses: Counter[int] = Counter()
    lock = threading.Lock()

    def client() -> None:
        for _ in range(10):
            status = ask(limited, CHAT, "sk-few", chat("demo-n1", max_tokens=1)).status
            with lock:
                statuses[status] += 1

    threads = [threading.Thread(target=client) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: settled(limited), "something is still held, or not in the books")
    account = ask(limited, "/v1/credits", "sk-few").body
    assert statuses.keys() == {200, 402}
    assert statuses[200] >= 10
    assert account["spent"] > 0  # type: ignore[operator]
    assert account["available"] >= 0  # type: ignore[operator]


@pytest.mark.parametrize(
    ("key", "path", "body", "status", "word"),
    [
        ("strict", CHAT, chat(max_tokens=101), 400, "max_tokens_per_request = 100"),
        ("strict", CHAT, chat(max_tokens=100), 200, ""),
        ("strict", MESSAGES, chat(max_tokens=101), 400, "max_tokens_per_request = 100"),
        ("capped", CHAT, chat(max_tokens=1000), 200, ""),
        ("narrow", CHAT, chat(), 200, ""),
        ("narrow", CHAT, chat("demo-n1"), 403, "model"),
        ("narrow", MESSAGES, chat(), 403, "endpoint"),
        ("trainer", CHAT, chat(), 403, "scope 'inference'"),
        ("boss", CHAT, chat(), 200, ""),
        ("elsewhere", CHAT, chat(), 403, "address"),
        ("over", CHAT, chat(), 401, "key"),
        ("nobody", CHAT, chat(), 401, "key"),
    ],
)
def test_what_a_key_may(
    limited: Binary, key: str, path: str, body: dict[str, object], status: int, word: str
) -> None:
    answer = ask(limited, path, f"sk-{key}", body)
    assert answer.status == status, answer.raw
    if status != 200:
        assert word in str(answer.error("message"))
    elif key == "capped":
        usage = answer.body["usage"]
        assert isinstance(usage, dict)
        assert usage["completion_tokens"] <= 7


CARRIERS = {
    "bearer": {"authorization": "Bearer {}"}, "lower": {"authorization": "bearer {}"}, "x-api-key": {"x-api-key": "{}"},
}  # fmt: skip


@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_carrier_decides_alike(limited: Binary, carrier: str) -> None:
    """Key, path and expected status by carrier; two different keys at once are none."""
    for key, path, body, status in (
        ("sk-user", CHAT, chat(), 200), ("sk-user", MESSAGES, chat(), 200), ("sk-trainer", CHAT, chat(), 403),
        ("sk-none", CHAT, chat(), 401), ("sk-boss", "/v1/organizations/acme/api-keys", None, 200),
        ("sk-user", "/v1/organizations/acme/api-keys", None, 403),
    ):  # fmt: skip
        fields = {name: value.format(key) for name, value in CARRIERS[carrier].items()}
        assert ask(limited, path, "", body, **fields).status == status, (key, path)
    both = {"authorization": "Bearer sk-user", "x-api-key": "sk-boss"}
    assert ask(limited, CHAT, "", chat(), **both).status == 401
    assert ask(limited, "/v1/organizations/acme/api-keys", "", **both).status == 401


ROLES = ("", "sk-none", "sk-trainer", "sk-user", "sk-rival", "sk-boss", "sk-operator")
OPEN_TO_ALL = (200,) * len(ROLES)
ANY_KEY = (401, 401, 200, 200, 200, 200, 200)
INFERENCE = (401, 401, 403, 400, 400, 400, 400)  # an empty body is wrong, but for those who may ask
TABLE = {
    **{path.decode(): OPEN_TO_ALL for path in PATHS},
    **{path.decode(): OPEN_TO_ALL for path in OPEN},
    **{path.decode(): INFERENCE for path in ENDPOINTS},
    **{path.decode(): ANY_KEY for path in sorted(EXACT - OPEN)},
    "/v1/models": ANY_KEY,
    "/v1beta/models/demo:generateContent": INFERENCE,
    "/v1/organizations/acme/api-keys": (401, 401, 403, 403, 404, 200, 200),
    "/v1/organizations/acme/api-keys/nothing": (401, 401, 403, 403, 404, 404, 404),
    "/admin/requests": (401, 401, 403, 403, 200, 200, 200),
    "/admin/requests/nothing": (401, 401, 403, 403, 404, 404, 404),
    "/admin/channels": (401, 401, 403, 403, 403, 403, 200),
    "/admin/credits": (401, 401, 403, 403, 403, 403, 200),
    "/admin/": (401, 401, 404, 404, 404, 404, 404),
    "/v1/responses/resp_nothing": (401, 401, 403, 404, 404, 404, 404),
    "/v1/nothing": (404,) * len(ROLES),
}


def test_each_prefix_of_the_control_plane_is_in_the_table() -> None:
    for prefix in PREFIXES:
        assert any(path.startswith(prefix.decode()) for path in TABLE)


@pytest.mark.parametrize("path", TABLE)
def test_every_route_for_every_role(limited: Binary, path: str) -> None:
    inference = path.encode() in ENDPOINTS or path.endswith("generateContent")
    body: object = {} if inference else None
    assert tuple(ask(limited, path, key, body).status for key in ROLES) == TABLE[path]


@pytest.mark.parametrize(
    "path",
    [
        "//admin/credits", "/admin//credits", "/./admin/credits", "/x/../admin/credits", "/admin/credits/",
        "/%61dmin/credits", "/admin%2fcredits", "/ADMIN/credits", "/admin/credits;x", "/admin/credits%00",
        "/v1/../admin/credits", "/livez/../admin/credits", "/metrics/../admin/credits", "/admin/./channels",
        "/v1/organizations/acme/api-keys/../api-keys", "/v1/organizations/%61cme/api-keys",
    ],
)  # fmt: skip
def test_no_way_of_writing_a_path_goes_around_the_door(limited: Binary, path: str) -> None:
    for key in ("", "sk-none", "sk-user"):
        for host in ("localhost", "127.0.0.1:1", "admin"):
            status = ask(limited, path, key, host=host).status
            assert status in (400, 401, 403, 404)


def test_a_client_cannot_say_who_it_is(limited: Binary) -> None:
    forged = {"x-fastanchor-principal": '["admin","",["admin"]]'}
    assert ask(limited, "/admin/credits", "", **forged).status == 401
    assert ask(limited, "/admin/credits", "sk-user", **forged).status == 403


def everywhere(binary: Binary, key: object) -> set[int]:
    """What the workers say to a key."""
    return {ask(binary, CHAT, str(key), chat("demo-n1")).status for _ in range(12)}


def test_a_key_works_and_ends_in_every_worker(limited: Binary) -> None:
    keys = "/v1/organizations/acme/api-keys"
    for _ in range(3):
        made = ask(limited, keys, "sk-boss", {"name": "short"}).body
        until(lambda key=made["key"]: everywhere(limited, key) == {200}, "a worker does not know the key")
        assert ask(limited, f"{keys}/{made['id']}", "sk-boss", method="DELETE").status == 200
        until(lambda key=made["key"]: everywhere(limited, key) == {401}, "a worker takes a key that has ended")


def test_billing_ids_are_our_own(limited: Binary) -> None:
    fields = {"x-request-id": "mine", "idempotency-key": "mine"}
    ids = {ask(limited, CHAT, "sk-user", chat("demo-n1"), **fields).fields["x-request-id"] for _ in range(10)}
    assert len(ids) == 10
    assert "mine" not in ids


def test_usage_of_a_key(limited: Binary) -> None:
    ask(limited, CHAT, "sk-strict", chat())

    def is_told() -> bool:
        rows = ask(limited, "/v1/usage?by=model", "sk-strict").body["data"]
        assert isinstance(rows, list)
        return any(row["model"] == "demo-fast" and row["requests"] >= 1 and row["output"] > 0 for row in rows)

    until(is_told, "the request is not in the usage")


def test_unknown_keys_are_limited_by_address(limited: Binary) -> None:
    """Whoever has tried many has to wait, unless the key is known; others do not."""
    source = "127.0.0.251"
    began = time.monotonic()
    statuses = [ask(limited, CHAT, f"sk-guess-{i}", chat(), source=source).status for i in range(80)]
    assert statuses[:60] == [401] * 60
    assert statuses.count(401) <= 60 + (time.monotonic() - began) + 1  # one comes free every second
    refused = ask(limited, "/v1/usage", "sk-guess", source=source)
    assert (refused.status, "retry-after" in refused.fields) == (429, True)
    assert ask(limited, CHAT, "sk-user", chat("demo-n1"), source=source).status == 200
    assert ask(limited, CHAT, "sk-guess", chat(), source="127.0.0.252").status == 401
