"""Whatever a TOML file holds, it is judged: typed, or told what is wrong, and never a crash or a secret shown."""

from __future__ import annotations

import contextlib
import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fastanchor.settings import schema
from fastanchor.settings.compile import compile_settings
from fastanchor.settings.problem import SettingsError, shown
from fastanchor.settings.validate import validate

CANARY = "canary-of-a-secret"

structs = [
    schema.Config, schema.Server, schema.Limits, schema.Admin, schema.Plan, schema.Key, schema.Timeouts,
    schema.Channel, schema.Hedge, schema.Route, schema.Price, schema.LongPriceTier, schema.Cors, schema.Responses,
]  # fmt: skip
names = st.sampled_from(sorted({name for struct in structs for name in struct.__struct_fields__} | {"gpt-4o", "x y"}))
scalars = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["*", "auto", "off", "p95", "openai", "demo", "env:X", "file:/x", "127.0.0.1:1", "http://h/v1"])
    | st.just(datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC))
)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(names, v, max_size=6), max_leaves=25)
documents = st.dictionaries(st.sampled_from(sorted(schema.Config.__struct_fields__)), values, max_size=6)


def no_file(path: str) -> str:
    raise FileNotFoundError(path)


@given(documents)
def test_any_document_is_judged(document: dict[str, Any]) -> None:
    config, problems = validate(document)
    assert (config is None) == bool(problems)
    if config is not None:
        with contextlib.suppress(SettingsError):
            compile_settings(config, {}, no_file, pepper=b"")


@given(values)
def test_a_secret_of_any_wrong_type_is_not_shown(wrapper: Any) -> None:
    for secret in ([CANARY, wrapper], {"a": CANARY}, [[CANARY]], {CANARY: wrapper}):
        document = {
            "admin": {"key": secret},
            "server": {"redis_url": secret},
            "keys": [{"name": "a", "key": secret}],
            "channels": [{"name": "a", "provider": "openai", "models": "*", "keys": [secret]}],
        }
        _, problems = validate(document)
        assert CANARY not in "\n".join(problem.message for problem in problems)


@given(values)
def test_a_wrong_value_is_shown_in_one_short_line(value: Any) -> None:
    assert len(shown(value)) <= 70
    assert "\n" not in shown(value)
