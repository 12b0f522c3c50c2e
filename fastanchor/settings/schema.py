"""The configuration contract: every section and key a file may hold, its type, bounds and default.

Rules:
- Field names are the TOML keys. A key that is not here is an error.
- A default in here is the only place that default is written; `config.toml` repeats it and a test compares the two.
- `SecretText` marks a value that must never be shown; `expects` words a type for an error message where its own words
  would be too long.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct, field

SECRET = "secret"  # noqa: S105
EXPECTS = "expects"


def expects(text: str) -> Meta:
    """What an error message says was expected, in place of the type's own description."""
    return Meta(extra={EXPECTS: text})


Name: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    expects("a name of letters, digits, '.', '_' and '-'"),
]
KeyPrefix: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"),
    expects("1 to 32 letters, digits, '_' and '-'"),
]
Text: TypeAlias = Annotated[str, Meta(min_length=1)]
SecretText: TypeAlias = Annotated[
    str, Meta(min_length=1, extra={SECRET: True, EXPECTS: 'a secret: "env:NAME", "file:/path" or the text itself'})
]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Positive: TypeAlias = Annotated[int, Meta(ge=1, le=2**31)]
Window: TypeAlias = Annotated[int, Meta(ge=65_535, le=2**31 - 1)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86_400)]
SecondsOrOff: TypeAlias = Annotated[float, Meta(ge=0, le=86_400)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Dollars: TypeAlias = Annotated[float, Meta(ge=0, le=1_000_000_000)]
Percentile: TypeAlias = Annotated[str, Meta(pattern=r"^(off|p[1-9][0-9]?)$")]

ServerName: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$", max_length=253),
    expects('a host name in lower case, or "*." and one'),
]

Scope: TypeAlias = Literal["inference", "training", "models", "admin"]
ProviderName: TypeAlias = Literal["openai", "anthropic", "gemini", "azure", "bedrock", "demo"]
Models: TypeAlias = Annotated[
    dict[Text, Text] | Annotated[list[Text], Meta(min_length=1)] | Literal["*"],
    expects('a table of public name = upstream name, a list of names, or "*"'),
]
OpaqueEndpoint: TypeAlias = Literal[
    "moderations", "images", "audio", "rerank", "files", "fine_tuning", "fine-tuning", "models"
]
HedgeAfter: TypeAlias = Annotated[Seconds | Percentile, expects('seconds > 0, a percentile such as "p95", or "off"')]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""


class Certificate(Section, frozen=True, kw_only=True):
    """A certificate with its chain and its key, for clients that ask for one of `names` (SNI). Files in PEM form."""

    names: Annotated[list[ServerName], Meta(min_length=1)]
    certificate: Text
    key: Text


class Tls(Section, frozen=True, kw_only=True):
    """Files in PEM form. `certificate` is for every name that none of `certificates` is for."""

    certificate: Text
    key: Text
    certificates: list[Certificate] = []
    client_ca: Text | None = None
    client_certificate: Literal["required", "optional"] = "required"


class Limits(Section, frozen=True, kw_only=True):
    """Bounds of the server's side of the wire. Sizes in bytes, times in seconds.

    `max_connections` None: just under half of the descriptors the process may open, at most 8192.
    """

    request_line_bytes: Positive = 8 * 1024
    field_bytes: Positive = 16 * 1024
    head_bytes: Positive = 32 * 1024
    fields: Positive = 100
    body_bytes: Positive = 32 * 1024 * 1024
    bodies_bytes: Count = 512 * 1024 * 1024
    head_seconds: Seconds = 10.0
    upload_bytes: Count = 16 * 1024 * 1024 * 1024
    decoded_ratio: Positive = 100
    decoded_grace_bytes: Count = 64 * 1024
    body_seconds: Seconds = 30.0
    body_bytes_per_second: Positive = 8 * 1024
    body_grace_seconds: SecondsOrOff = 10.0
    keep_alive_seconds: Seconds = 75.0
    keep_alive_pressed_seconds: Seconds = 5.0
    requests_per_connection: Positive = 1_000
    write_stall_seconds: Seconds = 60.0
    linger_bytes: Positive = 64 * 1024
    linger_seconds: SecondsOrOff = 2.0
    tls_handshake_seconds: Seconds = 5.0
    h2_streams: Positive = 100
    h2_stream_window_bytes: Window = 65_535
    h2_connection_window_bytes: Window = 1024 * 1024
    h2_continuations: Count = 8
    h2_resets: Positive = 100
    h2_pings: Positive = 50
    h2_settings: Positive = 20
    h2_glitches: Positive = 1_000
    h2_unsent_bytes: Positive = 1024 * 1024
    h2_preface_seconds: Seconds = 5.0
    h2_header_seconds: Seconds = 5.0
    h2_window_seconds: Seconds = 30.0
    ws_message_bytes: Positive = 1024 * 1024
    ws_frame_bytes: Positive = 1024 * 1024
    ws_fragments: Positive = 256
    ws_control_frames: Positive = 50
    ws_unsent_bytes: Positive = 256 * 1024
    ws_ping_seconds: Seconds = 20.0
    ws_pong_seconds: Seconds = 20.0
    ws_idle_seconds: Seconds = 300.0
    ws_auth_seconds: Seconds = 10.0
    ws_close_seconds: Seconds = 5.0
    max_connections: Positive | None = None
    connections_per_address: Count = 256
    connections_per_address_per_second: Count = 64
    backlog: Positive = 1_024


class Server(Section, frozen=True, kw_only=True):
    """The data plane of one instance. `auth` "auto": off only while no key is configured and every address is local."""

    listen: Annotated[list[Text], Meta(min_length=1)] = field(default_factory=lambda: ["127.0.0.1:8080"])
    workers: Annotated[int, Meta(ge=0, le=1024)] = 1
    state_dir: Text = "./state"
    auth: bool | Literal["auto"] = "auto"
    key_prefix: KeyPrefix = "fa"
    tls: Tls | None = None
    redis_url: SecretText | None = None
    postgres_url: SecretText | None = None
    access_log: Literal["json", "text", "off"] = "json"
    metrics: bool = True
    keep_alive: SecondsOrOff = 15.0
    anthropic_done: bool = True
    half_close_aborts: bool = True
    drain_seconds: SecondsOrOff = 30.0
    limits: Limits = field(default_factory=Limits)


class Admin(Section, frozen=True, kw_only=True):
    key: SecretText | None = None


class PlanLimits(Section, frozen=True, kw_only=True):
    """Each 0 when unlimited."""

    requests_per_minute: Count = 0
    requests_per_day: Count = 0
    tokens_per_minute: Count = 0
    tokens_per_hour: Count = 0
    tokens_per_day: Count = 0
    tokens_per_month: Count = 0
    concurrent_requests: Count = 0
    max_tokens_per_request: Count = 0


class Plan(PlanLimits, frozen=True, kw_only=True):
    """`credits_usd` is the starting balance; without it the plan is not metered. Empty lists mean: all."""

    cap_max_tokens: bool = False
    credits_usd: Dollars | None = None
    models: list[Text] = []
    endpoints: list[Text] = []
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    markup_percent: Annotated[float, Meta(ge=0, le=10_000)] = 0.0


class Organization(PlanLimits, frozen=True, kw_only=True):
    """Limits over all keys of an organisation at once. With `credits_usd` every key of it is metered."""

    credits_usd: Dollars | None = None


class Key(Section, frozen=True, kw_only=True):
    """`limits` narrow the plan's; `expires` is a date and time with an offset; `addresses` are networks (CIDR)."""

    name: Name
    key: SecretText
    organization: Name = "default"
    plan: Text | None = None
    scopes: Annotated[list[Scope], Meta(min_length=1)] = field(default_factory=lambda: ["inference"])
    models: list[Text] = []
    endpoints: list[Text] = []
    limits: PlanLimits | None = None
    expires: Annotated[datetime.datetime, Meta(tz=True), expects("a date and time with an offset")] | None = None
    addresses: list[Text] = []


class Timeouts(Section, frozen=True, kw_only=True):
    connect: Seconds = 5.0
    first_token: Seconds = 30.0
    idle: Seconds = 30.0
    total: Seconds = 600.0


class PriceTier(Section, frozen=True, kw_only=True):
    """Dollars per million tokens; what is left out costs as much as `input`, or `output` for `reasoning`."""

    input: Dollars = 0.0
    output: Dollars = 0.0
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    reasoning: Dollars | None = None
    audio_input: Dollars | None = None
    audio_output: Dollars | None = None


class LongPriceTier(PriceTier, frozen=True, kw_only=True):
    """Prices of prompts longer than `above` tokens."""

    above: Positive


class Price(PriceTier, frozen=True, kw_only=True):
    tiers: list[LongPriceTier] = []


class Channel(Section, frozen=True, kw_only=True):
    """One upstream. `base_url` may be left out where the provider has one; for `demo` that is the built-in one."""

    name: Name
    provider: ProviderName
    models: Models
    base_url: Text | None = None
    keys: list[SecretText] = []
    weight: Positive = 1
    tier: Annotated[int, Meta(ge=0, le=1000)] = 0
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_concurrency: Positive = 200
    requests_per_minute: Count = 0
    key_concurrency: Count = 0
    key_requests_per_minute: Count = 0
    http2: Literal["auto", "on", "off"] = "auto"
    verify_tls: bool = True
    on_cancel: Literal["estimate", "drain", "void"] = "estimate"
    headers: dict[Text, SecretText] = {}
    endpoints: list[OpaqueEndpoint] | None = None
    prices: dict[Text, Price] = {}
    options: dict[Text, str] = {}


class Hedge(Section, frozen=True, kw_only=True):
    after: HedgeAfter = 10.0
    max_share: Share = 0.05
    max_prompt_tokens: Positive = 200_000
    max_cost_usd: Dollars = 0.0


class Route(Section, frozen=True, kw_only=True):
    model: Text
    fallback_models: list[Text] = []
    channels: list[Text] = []
    attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    race: Annotated[int, Meta(ge=1, le=100)] = 1
    hedge: Hedge | HedgeAfter = field(default_factory=Hedge)
    rescue: Literal["off", "splice", "restart"] = "splice"
    select: Literal["weight", "latency", "cost", "sticky"] = "weight"
    affinity: bool = True
    deadline: Seconds = 900.0
    content_filter_fallback: bool = False


class Cors(Section, frozen=True, kw_only=True):
    """Browsers' origins that may call. Empty: CORS is off. `["*"]`: any."""

    origins: list[Text] = []
    max_age: Annotated[int, Meta(ge=0, le=86_400)] = 600


class Responses(Section, frozen=True, kw_only=True):
    """The local store behind `previous_response_id`."""

    retention_days: Annotated[float, Meta(ge=0, le=3_650)] = 30.0


class Ledger(Section, frozen=True, kw_only=True):
    """The books: how hard a journal is pressed to the disk, and what a request costs whose worker died."""

    fsync: Literal["none", "group", "every"] = "group"
    group_seconds: Annotated[float, Meta(gt=0, le=10)] = 0.05
    lost_requests: Literal["estimate", "tried"] = "estimate"
    retention_days: Annotated[float, Meta(gt=0, le=36_500)] = 90.0
    bodies: bool = False


class Config(Section, frozen=True, kw_only=True):
    """A whole file. Without `channels` they come from the environment, see `defaults`."""

    server: Server = field(default_factory=Server)
    admin: Admin = field(default_factory=Admin)
    keys: list[Key] = []
    plans: dict[Name, Plan] = {}
    organizations: dict[Text, Organization] = {}
    channels: list[Channel] = []
    routes: list[Route] = []
    prices: dict[Text, Price] = {}
    cors: Cors = field(default_factory=Cors)
    responses: Responses = field(default_factory=Responses)
    ledger: Ledger = field(default_factory=Ledger)


Document: TypeAlias = dict[str, Any]
"""A parsed TOML file before it is checked."""
