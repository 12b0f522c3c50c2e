"""Wrong configurations: a good one, changed in one place, and the exact message for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastanchor.settings.load import check

GOOD = """\
[server]
listen = ["127.0.0.1:8080", "unix:/run/fastanchor.sock"]
workers = 2
state_dir = "./state"
auth = true
access_log = "text"
drain_seconds = 10

[server.limits]
body_bytes = 1_000_000
head_seconds = 5.0

[admin]
key = "env:ADMIN"

[[keys]]
name = "dev"
key = "env:DEV"
organization = "acme"
plan = "payg"
scopes = ["inference"]
expires = 2030-01-01T00:00:00Z
addresses = ["10.0.0.0/8"]

[[keys]]
name = "ops"
key = "literal-secret-canary"

[plans.payg]
requests_per_minute = 5
credits_usd = 5.0

[[channels]]
name = "main"
provider = "openai"
base_url = "https://api.openai.com/v1"
keys = ["env:OPENAI"]
models = { "gpt-4o" = "gpt-4o-2024-08-06" }
weight = 1
tier = 0
timeouts = { connect = 5.0, first_token = 30.0 }
http2 = "auto"

[[channels]]
name = "claude"
provider = "anthropic"
keys = ["env:ANTHROPIC"]
models = ["claude-*"]
headers = { "anthropic-beta" = "a b" }

[[routes]]
model = "gpt-4o"
channels = ["main"]
fallback_models = ["claude-sonnet-4"]
attempts = 3
hedge = { after = "p95", max_share = 0.05 }

[[routes]]
model = "claude-*"
hedge = "off"

[prices."gpt-4o"]
input = 2.50
output = 10.00
"""

ENVIRON = {"ADMIN": "admin-canary", "DEV": "dev-canary", "OPENAI": "openai-canary", "ANTHROPIC": "ant-canary"}

MUTANTS = [
    # what is replaced, by what, the message
    ("workers = 2", "workers = -1", "server.workers: expected int >= 0 and <= 1024, got -1"),
    ("workers = 2", 'workers = "two"', 'server.workers: expected int >= 0 and <= 1024, got "two"'),
    ("workers = 2", "workers = true", "server.workers: expected int >= 0 and <= 1024, got true"),
    ("workers = 2", "workers = 2.5", "server.workers: expected int >= 0 and <= 1024, got 2.5"),
    ("workers = 2", "worker = 2", 'server.worker: unknown key, did you mean "workers"?'),
    ("[server]\n", "[sever]\n", 'sever: unknown key, did you mean "server"?'),
    (
        "[admin]\n",
        "[admin]\nx = 1\n",
        "admin.x: unknown key, known are key",
    ),
    ("auth = true", 'auth = "yes"', 'server.auth: expected true or false or "auto", got "yes"'),
    ("auth = true", "auth = 1", 'server.auth: expected true or false or "auto", got 1'),
    ('"127.0.0.1:8080"', '"127.0.0.1"',
     'server.listen[0]: expected "host:port", "[ipv6]:port" or "unix:/path", got "127.0.0.1"'),
    ('"127.0.0.1:8080"', '"127.0.0.1:99999"',
     'server.listen[0]: expected "host:port", "[ipv6]:port" or "unix:/path", got "127.0.0.1:99999"'),
    ('"127.0.0.1:8080"', '"[::1:8080"',
     'server.listen[0]: expected "host:port", "[ipv6]:port" or "unix:/path", got "[::1:8080"'),
    ('"unix:/run/fastanchor.sock"', '"127.0.0.1:8080"', "server.listen[1]: 127.0.0.1:8080 stands twice"),
    ('["127.0.0.1:8080", "unix:/run/fastanchor.sock"]', "[]",
     "server.listen: expected a non-empty list, got an empty list"),
    ('["127.0.0.1:8080", "unix:/run/fastanchor.sock"]', '"127.0.0.1:8080"',
     'server.listen: expected a non-empty list, got "127.0.0.1:8080"'),
    ('"text"', '"txt"', 'server.access_log: expected "json" or "text" or "off", got "txt"'),
    ("drain_seconds = 10", "drain_seconds = -1", "server.drain_seconds: expected number >= 0 and <= 86400, got -1"),
    ("drain_seconds = 10", "drain_seconds = nan", "server.drain_seconds: expected number >= 0 and <= 86400, got nan"),
    ("drain_seconds = 10", 'tls = { certificate = "c.pem", key = "k.pem" }',
     "server.tls: cannot use c.pem with k.pem: No such file or directory"),
    ("drain_seconds = 10", 'redis_url = "redis://u:canary@h"', "server.redis_url: is not supported by this version"),
    ("drain_seconds = 10", "postgres_url = 5",
     'server.postgres_url: expected a secret: "env:NAME", "file:/path" or the text itself, got a number'),
    ("body_bytes = 1_000_000", "body_bytes = 0", "server.limits.body_bytes: expected int >= 1, got 0"),
    ("body_bytes = 1_000_000", "head_bytes = 100_000\nfield_bytes = 200_000",
     "server.limits.field_bytes: expected int <= head_bytes (100000)"),
    ("head_seconds = 5.0", "head_seconds = inf",
     "server.limits.head_seconds: expected number > 0 and <= 86400, got inf"),
    ('"env:ADMIN"', '"env:NOBODY"', "admin.key: environment variable NOBODY is not set"),
    ('"env:ADMIN"', '"env:NO-NAME"', 'admin.key: expected "env:NAME" with the name of an environment variable'),
    ('"env:ADMIN"', '"file:/nowhere/secret"', "admin.key: cannot read file /nowhere/secret: No such file or directory"),
    ('"env:ADMIN"', '"two words"',
     "admin.key: expected a secret of visible ASCII characters without spaces, got others"),
    ('"env:ADMIN"', '""',
     'admin.key: expected a secret: "env:NAME", "file:/path" or the text itself, got an empty string'),
    ('name = "ops"', 'name = "dev"', 'keys[1].name: "dev" is already the name of keys[0]'),
    ('"literal-secret-canary"', '"env:DEV"', "keys[1].key: is the same key as keys[0].key"),
    ('"literal-secret-canary"', '"env:ADMIN"', "keys[1].key: is the same key as admin.key"),
    ('key = "literal-secret-canary"', "", 'keys[1].key: missing, expected a secret: "env:NAME", "file:/path" or '
     "the text itself"),
    ('"payg"', '"gold"', 'keys[0].plan: there is no plan "gold", known are payg'),
    ('scopes = ["inference"]', 'scopes = ["all"]',
     'keys[0].scopes[0]: expected "inference" or "training" or "models" or "admin", got "all"'),
    ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00",
     "keys[0].expires: expected a date and time with an offset, got a date and time without an offset"),
    ("10.0.0.0/8", "10.0.0.0/33",
     'keys[0].addresses[0]: expected a network such as "10.0.0.0/8", got "10.0.0.0/33"'),
    ("requests_per_minute = 5", "requests_per_minut = 5",
     'plans.payg.requests_per_minut: unknown key, did you mean "requests_per_minute"?'),
    ("credits_usd = 5.0", "credits_usd = -5.0",
     "plans.payg.credits_usd: expected number >= 0 and <= 1000000000, got -5.0"),
    ("[plans.payg]", '[plans."pay as you go"]',
     "plans.\"pay as you go\": expected a name of letters, digits, '.', '_' and '-', got \"pay as you go\""),
    ("weight = 1", 'weight = "x"', 'channels[0].weight: expected int >= 1, got "x"'),
    ("weight = 1", "weight = 0", "channels[0].weight: expected int >= 1, got 0"),
    ("connect = 5.0", "connect = 0", "channels[0].timeouts.connect: expected number > 0 and <= 86400, got 0"),
    ("connect = 5.0", "conect = 5.0", 'channels[0].timeouts.conect: unknown key, did you mean "connect"?'),
    ("{ connect = 5.0, first_token = 30.0 }", "30", "channels[0].timeouts: expected a table, got 30"),
    ('"https://api.openai.com/v1"', '"ftp://x"',
     'channels[0].base_url: expected an http or https URL without user, query or fragment, got "ftp://x"'),
    ('"https://api.openai.com/v1"', '"https://u:canary@x"',
     "channels[0].base_url: expected an http or https URL without user, query or fragment, got one with a user or "
     "password"),
    ('"https://api.openai.com/v1"', '"https://x/v1?k=1"',
     'channels[0].base_url: expected an http or https URL without user, query or fragment, got "https://x/v1?k=1"'),
    ('"https://api.openai.com/v1"', '"https://x:70000"',
     'channels[0].base_url: expected an http or https URL without user, query or fragment, got "https://x:70000"'),
    ('"https://api.openai.com/v1"', '"https://[::x]/"',
     'channels[0].base_url: expected an http or https URL without user, query or fragment, got "https://[::x]/"'),
    ('["env:OPENAI"]', '"sk-canary"',
     'channels[0].keys: expected a list, each a secret: "env:NAME", "file:/path" or the text itself, got a string'),
    ('["env:OPENAI"]', '["env:OPENAI", "env:OPENAI"]', "channels[0].keys[1]: is the same key as channels[0].keys[0]"),
    ('["env:ANTHROPIC"]', "[]", "channels[1].keys: missing, expected at least one key for https://api.anthropic.com/v1"),
    ('{ "gpt-4o" = "gpt-4o-2024-08-06" }', "{}", "channels[0].models: expected at least one model, got an empty table"),
    ('{ "gpt-4o" = "gpt-4o-2024-08-06" }', '"gpt-4o"',
     'channels[0].models: expected a table of public name = upstream name, a list of names, or "*", got "gpt-4o"'),
    ('{ "gpt-4o" = "gpt-4o-2024-08-06" }', '{ "gpt-4o" = "gpt-*" }',
     'channels[0].models.gpt-4o: expected a model without "*", got "gpt-*"'),
    ('["claude-*"]', "[]",
     'channels[1].models: expected a table of public name = upstream name, a list of names, or "*", got an empty list'),
    ('name = "claude"', 'name = "main"', 'channels[1].name: "main" is already the name of channels[0]'),
    ('provider = "openai"', 'provider = "opnai"',
     'channels[0].provider: expected "openai" or "anthropic" or "gemini" or "azure" or "bedrock" or "demo", got '
     '"opnai"'),
    ('provider = "anthropic"', 'provider = "azure"',
     "channels[1].base_url: missing, expected the URL of your azure resource"),
    ('"anthropic-beta"', '"content-length"', "channels[1].headers.content-length: is set by the gateway itself"),
    ('"anthropic-beta"', '"bad name"', 'channels[1].headers."bad name": expected the name of a header field'),
    ('"a b"', '"a\\r\\nb"',
     "channels[1].headers.anthropic-beta: expected a secret of visible ASCII characters, got others"),
    ('channels = ["main"]', 'channels = ["mian"]',
     'routes[0].channels[0]: there is no channel "mian", known are main, claude'),
    ('model = "claude-*"', 'model = "gpt-4o"',
     'routes[1].model: "gpt-4o" is already the model of routes[0], which matches first'),
    ("attempts = 3", "attempts = 0", "routes[0].attempts: expected int >= 1 and <= 100, got 0"),
    ('"p95"', '"p950"',
     'routes[0].hedge.after: expected seconds > 0, a percentile such as "p95", or "off", got "p950"'),
    ("max_share = 0.05", "max_share = 5", "routes[0].hedge.max_share: expected number >= 0 and <= 1, got 5"),
    ('hedge = "off"', "hedge = -1",
     'routes[1].hedge: expected a table or seconds > 0, a percentile such as "p95", or "off", got -1'),
    ("input = 2.50", 'input = "2.50"', 'prices.gpt-4o.input: expected number >= 0 and <= 1000000000, got "2.50"'),
    ("output = 10.00", "tiers = [{ input = 1 }]", "prices.gpt-4o.tiers[0].above: missing, expected int >= 1"),
    ("workers = 2", "workers = ", "line 3, column 11: not TOML: Invalid value"),
    ("workers = 2", "workers = 2\nworkers = 3", "line 4, column 12: not TOML: Cannot overwrite a value"),
    ("output = 10.00\n", 'output = "', "not TOML: Unterminated string (at end of document)"),
]  # fmt: skip


def problems_of(text: str, directory: Path) -> list[str]:
    path = directory / "config.toml"
    path.write_text(text)
    return [str(problem) for problem in check(path, ENVIRON)]


def test_the_good_one_is_good(tmp_path: Path) -> None:
    assert problems_of(GOOD, tmp_path) == []


@pytest.mark.parametrize(("old", "new", "message"), MUTANTS, ids=[message for _, _, message in MUTANTS])
def test_a_mutant_is_told_by_exactly_its_message(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert GOOD.count(old) >= 1
    found = problems_of(GOOD.replace(old, new, 1), tmp_path)
    assert message in found
    assert "canary" not in "\n".join(found)


INDEPENDENT = [  # mutants whose places do not touch
    ("workers = 2", "workers = -1"),
    ("weight = 1", "weight = 0"),
    ("attempts = 3", "attempts = 0"),
    ("input = 2.50", "inputs = 2.50"),
]


def test_all_problems_are_found_at_once(tmp_path: Path) -> None:
    text = GOOD
    for old, new in INDEPENDENT:
        text = text.replace(old, new, 1)
    assert [line.split(":")[0] for line in problems_of(text, tmp_path)] == [
        "server.workers",
        "channels[0].weight",
        "routes[0].attempts",
        "prices.gpt-4o.inputs",
    ]


def test_all_missing_secrets_are_found_at_once(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(GOOD)
    assert [problem.key for problem in check(path, {})] == [
        "admin.key",
        "keys[0].key",
        "channels[0].keys[0]",
        "channels[1].keys[0]",
    ]
