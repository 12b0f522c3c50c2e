"""A checked configuration becomes the world it describes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

import pytest

from fastanchor.core.channel import Channel, Timeouts
from fastanchor.core.model import ModelCard, PriceTier
from fastanchor.core.principal import Plan, Principal
from fastanchor.core.route import Hedge, Route
from fastanchor.settings.compile import DEMO_URL, Settings, compile_settings
from fastanchor.settings.secrets import key_digest
from fastanchor.settings.server import ServerSettings
from fastanchor.settings.validate import validate

PEPPER = b"pepper"

LOCAL_MODEL = '[[channels]]\nname = "a"\nprovider = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n'


def no_file(path: str) -> str:
    raise FileNotFoundError(path)


def compiled(text: str, environ: Mapping[str, str] | None = None, **options: object) -> Settings:
    config, problems = validate(tomllib.loads(text))
    assert problems == []
    assert config is not None
    return compile_settings(config, environ or {}, no_file, pepper=PEPPER, **options)  # type: ignore[arg-type]


# the built-in default


def test_the_empty_file_is_an_open_local_demo() -> None:
    settings = compiled("")
    assert settings.server == ServerSettings()
    assert settings.demo
    assert not settings.snapshot.auth
    assert settings.warnings == ()
    (channel,) = settings.snapshot.channels
    assert (channel.name, channel.provider, channel.base_url) == ("demo", "demo", DEMO_URL)
    assert channel.upstream_model("demo-n200-p20") == "demo-n200-p20"
    assert channel.upstream_model("gpt-4o") is None


def test_the_demo_channel_is_where_the_demo_was_started() -> None:
    assert compiled("", demo_url="http://127.0.0.1:4711/v1").snapshot.channels[0].port == 4711


@pytest.mark.parametrize(
    ("variable", "name", "provider", "model"),
    [
        ("OPENAI_API_KEY", "openai", "openai", "gpt-4o"),
        ("ANTHROPIC_API_KEY", "anthropic", "anthropic", "claude-sonnet-4-20250514"),
        ("GEMINI_API_KEY", "gemini", "gemini", "gemini-2.5-pro"),
        ("GOOGLE_API_KEY", "gemini", "gemini", "gemini-2.5-pro"),
        ("DEEPSEEK_API_KEY", "deepseek", "openai", "deepseek-chat"),
        ("GROQ_API_KEY", "groq", "openai", "llama-3.3-70b-versatile"),
        ("MISTRAL_API_KEY", "mistral", "openai", "mistral-large-latest"),
        ("OPENROUTER_API_KEY", "openrouter", "openai", "anthropic/claude-sonnet-4"),
        ("XAI_API_KEY", "xai", "openai", "grok-4"),
    ],
)
def test_a_provider_key_in_the_environment_makes_a_channel(variable: str, name: str, provider: str, model: str) -> None:
    settings = compiled("", {variable: "k-1"})
    (channel,) = settings.snapshot.channels
    assert (channel.name, channel.provider, channel.keys) == (name, provider, ("k-1",))
    assert channel.scheme == "https"
    assert channel.upstream_model(model) == model
    assert channel.upstream_model("demo") is None
    assert not settings.demo


def test_an_empty_variable_makes_no_channel() -> None:
    assert compiled("", {"OPENAI_API_KEY": ""}).demo


def test_each_provider_serves_its_own_models() -> None:
    snapshot = compiled("", {"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b", "OPENROUTER_API_KEY": "c"}).snapshot
    for model, names in [("gpt-4o", ["openai"]), ("claude-3", ["anthropic"]), ("x/y", ["openrouter"]), ("z", [])]:
        assert [c.name for c in snapshot.channels_for(model, snapshot.route(model))] == names


def test_channels_of_a_file_replace_those_of_the_environment() -> None:
    settings = compiled(LOCAL_MODEL + 'models = "*"', {"OPENAI_API_KEY": "k"})
    assert [c.name for c in settings.snapshot.channels] == ["a"]
    assert settings.snapshot.channels[0].keys == ()


# who may ask


@pytest.mark.parametrize(
    ("auth", "listen", "environ", "expected", "warned"),
    [
        ('"auto"', "127.0.0.1:80", {}, False, ""),
        ('"auto"', "unix:/s", {}, False, ""),
        ('"auto"', "127.0.0.1:80", {"FASTANCHOR_DEV_KEY": "k"}, True, ""),
        ('"auto"', "0.0.0.0:80", {"FASTANCHOR_DEV_KEY": "k"}, True, ""),
        ('"auto"', "0.0.0.0:80", {}, True, "no key is configured"),
        ("true", "127.0.0.1:80", {}, True, "no key is configured"),
        ("false", "127.0.0.1:80", {"FASTANCHOR_DEV_KEY": "k"}, False, ""),
        ("false", "10.1.2.3:80", {}, False, "OPEN INSTANCE"),
        ("false", "[::]:80", {"FASTANCHOR_DEV_KEY": "k"}, False, "OPEN INSTANCE"),
    ],
)
def test_an_instance_is_open_only_where_it_is_local_or_told_to_be(
    auth: str, listen: str, environ: dict[str, str], expected: bool, warned: str
) -> None:
    settings = compiled(f'[server]\nauth = {auth}\nlisten = ["{listen}"]', environ)
    assert settings.snapshot.auth is expected
    assert bool(settings.warnings) is bool(warned)
    assert all(warned in line for line in settings.warnings)


def test_one_address_beyond_this_machine_is_enough_to_ask_for_keys() -> None:
    assert compiled('[server]\nlisten = ["127.0.0.1:80", "0.0.0.0:81"]').snapshot.auth


def test_keys_are_kept_as_digests_with_all_they_may() -> None:
    snapshot = compiled(
        """
        [admin]
        key = "root"
        [[keys]]
        name = "dev"
        key = "env:DEV"
        organization = "acme"
        plan = "free"
        scopes = ["inference", "admin"]
        models = ["gpt-*"]
        endpoints = ["/v1/chat/*"]
        limits = { requests_per_minute = 2 }
        expires = 1970-01-02T00:00:00+00:00
        addresses = ["10.1.2.3/8", "::1"]
        [plans.free]
        requests_per_minute = 5
        tokens_per_minute = 10_000
        credits_usd = 5.25
        markup_percent = 2.5
        """,
        {"DEV": "dev-secret"},
    ).snapshot
    plan = Plan("free", requests_per_minute=5, tokens_per_minute=10_000, credits=5_250_000, markup=25_000)
    assert snapshot.plans == {"free": plan}
    assert snapshot.keys == {
        key_digest("dev-secret", PEPPER): Principal(
            key_id="config:dev",
            name="dev",
            organization="acme",
            scopes=frozenset({"inference", "admin"}),
            models=("gpt-*",),
            endpoints=("/v1/chat/*",),
            plan=plan,
            limits=Plan("dev", requests_per_minute=2),
            expires=86_400.0,
            addresses=("10.0.0.0/8", "::1/128"),
        )
    }
    assert snapshot.admin_digest == key_digest("root", PEPPER)
    assert "dev-secret" not in repr(snapshot)


def test_the_admin_key_of_the_environment_is_the_default() -> None:
    digest = compiled("", {"FASTANCHOR_ADMIN_KEY": "root"}).snapshot.admin_digest
    assert digest == key_digest("root", PEPPER)
    assert compiled("").snapshot.admin_digest == b""


def test_keys_of_a_file_replace_the_one_of_the_environment() -> None:
    keys = compiled('[[keys]]\nname = "a"\nkey = "x"', {"FASTANCHOR_DEV_KEY": "dev"}).snapshot.keys
    assert [holder.name for holder in keys.values()] == ["a"]


# where requests go


def test_a_channel_carries_every_setting() -> None:
    (channel,) = compiled(
        """
        [[channels]]
        name = "main"
        provider = "openai"
        base_url = "https://api.example.com:8443/v1/"
        keys = ["k1", "env:K2"]
        models = { "gpt-4o" = "gpt-4o-2024-08-06", "o*" = "*" }
        weight = 3
        tier = 2
        timeouts = { connect = 1, idle = 7.5 }
        max_concurrency = 9
        http2 = "off"
        headers = { "X-Team" = "env:TEAM" }
        options = { dialects = "openai_chat" }
        """,
        {"K2": "k2", "TEAM": "blue team"},
    ).snapshot.channels
    assert channel == Channel(
        name="main",
        provider="openai",
        base_url="https://api.example.com:8443/v1",
        keys=channel.keys,
        models={"gpt-4o": "gpt-4o-2024-08-06", "o*": "*"},
        weight=3,
        tier=2,
        timeouts=Timeouts(connect=1.0, idle=7.5),
        max_concurrency=9,
        http2="off",
        headers={"x-team": "blue team"},
        options={"dialects": "openai_chat"},
    )
    assert channel.keys == ("k1", "k2")
    assert "blue" not in repr(channel)


@pytest.mark.parametrize(
    ("models", "any_model", "mapping"),
    [
        ('"*"', True, {}),
        ('["a", "b-*"]', False, {"a": "a", "b-*": "b-*"}),
        ('{ "a" = "x" }', False, {"a": "x"}),
    ],
)
def test_models_are_a_mapping_a_list_or_all(models: str, any_model: bool, mapping: dict[str, str]) -> None:
    (channel,) = compiled(LOCAL_MODEL + f"models = {models}").snapshot.channels
    assert (channel.any_model, channel.models) == (any_model, mapping)


def test_a_demo_channel_with_an_address_needs_no_built_in_demo() -> None:
    base = '[[channels]]\nname = "a"\nprovider = "demo"\nmodels = "*"\n'
    assert compiled(base).demo
    assert not compiled(base + 'base_url = "http://127.0.0.1:9/v1"').demo


@pytest.mark.parametrize(
    ("extra", "warning"),
    [
        ('base_url = "https://h/v1"\nkeys = ["k"]', ""),
        ('base_url = "http://127.0.0.1/v1"\nkeys = ["k"]', ""),
        ('base_url = "http://h/v1"', ""),
        ('base_url = "http://h/v1"\nkeys = ["k"]', "channel a: keys are sent to h without TLS"),
        ('base_url = "https://h/v1"\nverify_tls = false', "channel a: TLS certificates are not verified"),
    ],
)
def test_what_weakens_a_channel_is_warned_of(extra: str, warning: str) -> None:
    settings = compiled(f'[[channels]]\nname = "a"\nprovider = "openai"\nmodels = "*"\n{extra}')
    assert settings.warnings == ((warning,) if warning else ())


def test_a_fallback_model_that_nobody_serves_is_warned_of() -> None:
    settings = compiled('[[routes]]\nmodel = "demo"\nfallback_models = ["demo-fast", "gpt-4o"]')
    assert settings.warnings == ('routes[0].fallback_models[1]: no channel serves "gpt-4o"',)


@pytest.mark.parametrize(
    ("hedge", "expected"),
    [
        ("{}", Hedge()),
        ('"off"', Hedge(after=None)),
        ('"p95"', Hedge(after=None, percentile=0.95)),
        ("3", Hedge(after=3.0)),
        ('{ after = "off" }', Hedge(after=None)),
        ('{ after = "p5", max_share = 0, max_prompt_tokens = 7, max_cost_usd = 0.5 }',
         Hedge(None, 0.05, 0.0, 7, 500_000)),
    ],
)  # fmt: skip
def test_a_hedge_is_a_time_a_percentile_or_off(hedge: str, expected: Hedge) -> None:
    (route,) = compiled(f'[[routes]]\nmodel = "*"\nhedge = {hedge}').snapshot.routes
    assert route.hedge == expected


def test_a_route_of_defaults_is_the_default_route() -> None:
    assert compiled('[[routes]]\nmodel = "*"').snapshot.routes == (Route(),)


def test_a_route_carries_every_setting() -> None:
    (route,) = compiled(
        """
        [[routes]]
        model = "demo*"
        fallback_models = ["demo-fast"]
        channels = ["demo"]
        attempts = 5
        race = 2
        rescue = "restart"
        select = "latency"
        affinity = false
        deadline = 60
        content_filter_fallback = true
        """
    ).snapshot.routes
    assert route == Route("demo*", ("demo-fast",), ("demo",), 5, 2, Hedge(), "restart", "latency", False, 60.0, True)


# what it costs


def test_prices_are_integers_of_micro_dollars_and_override_the_known_card() -> None:
    known = {"gpt-4o": ModelCard("gpt-4o", owned_by="openai", context=128_000, prices=(PriceTier(input=1),))}
    cards = compiled(
        """
        [prices."gpt-4o"]
        input = 2.50
        output = 10.00
        cache_read = 1.25
        tiers = [{ above = 400, input = 9 }, { above = 200, input = 0.1, output = 0.000_001 }]
        [prices.own]
        input = 0.075
        """,
        cards=known,
    ).snapshot.cards
    assert cards["gpt-4o"].context == 128_000
    assert cards["gpt-4o"].prices == (
        PriceTier(0, 2_500_000, 10_000_000, cache_read=1_250_000),
        PriceTier(200, 100_000, 1),
        PriceTier(400, 9_000_000),
    )
    assert cards["own"] == ModelCard("own", prices=(PriceTier(input=75_000),))


def test_a_channel_may_have_prices_of_its_own() -> None:
    known = {"gpt-4o": ModelCard("gpt-4o", context=128_000, prices=(PriceTier(input=1),))}
    snapshot = compiled(
        """
        [prices."gpt-4o"]
        input = 2.50
        [[channels]]
        name = "cheap"
        provider = "openai"
        keys = ["sk"]
        models = "*"
        prices = { "gpt-4o" = { input = 1.0, tiers = [{ above = 200, input = 2.0 }] } }
        """,
        cards=known,
    ).snapshot
    card = snapshot.channel_cards["cheap"]["gpt-4o"]
    assert (card.context, card.prices) == (128_000, (PriceTier(0, 1_000_000), PriceTier(200, 2_000_000)))
    assert snapshot.cards["gpt-4o"].prices == (PriceTier(0, 2_500_000),)


# how it runs


def test_the_server_carries_every_setting() -> None:
    settings = compiled(
        """
        [server]
        listen = ["[::1]:1", "unix:/s"]
        workers = 0
        state_dir = "/var/lib/fastanchor"
        access_log = "off"
        metrics = false
        keep_alive = 0
        anthropic_done = false
        half_close_aborts = false
        drain_seconds = 0
        limits = { body_bytes = 5, max_connections = 7 }
        [cors]
        origins = ["https://a.example"]
        max_age = 5
        [responses]
        retention_days = 0.5
        """,
        version=3,
    )
    server = settings.server
    assert [str(address) for address in server.listen] == ["[::1]:1", "unix:/s"]
    assert (server.workers, server.state_dir, server.access_log, server.metrics) == (
        0, "/var/lib/fastanchor", "off", False,
    )  # fmt: skip
    assert (server.half_close_aborts, server.drain_seconds) == (False, 0.0)
    assert (server.limits.body_bytes, server.limits.max_connections, server.limits.fields) == (5, 7, 100)
    assert (server.cors_origins, server.cors_max_age) == (("https://a.example",), 5)
    assert server.responses_retention == 43_200.0
    snapshot = settings.snapshot
    assert (snapshot.keep_alive, snapshot.anthropic_done, snapshot.version) == (0.0, False, 3)
