"""Client libraries against the binary, real processes: each in its dialect, to providers of every language.

All of them say the same: the demo provider's text does not depend on the dialect, nor on who asks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google.genai import errors as genai_errors

from tests.interop import cells
from tests.interop.conftest import PROVIDERS, TOOLED
from tests.interop.judge import judge
from tests.interop.programs import run
from tests.kit.binary import Binary

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

HERE = Path(__file__).parent
MODELS = [f"{name}-demo" for name in PROVIDERS]
WITH_TOOLS = [f"{name}-demo" for name in TOOLED]
CALL = ["weather", {"city": "lorem"}]
USE = "What is the weather? use the tool"


def spoken(instance: Binary) -> str:
    told = judge("openai_chat", False, instance.url, "openai_chat-demo", "Hello")  # type: ignore[no-untyped-call]
    return str(told["choices"][0]["text"])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("client", cells.CLIENTS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_text(polyglot: Binary, client: str, provider: str, stream: bool) -> None:
    told = judge(client, stream, polyglot.url, f"{provider}-demo", "Hello")  # type: ignore[no-untyped-call]
    assert len(told["choices"][0]["text"]) > 100
    assert told["choices"][0]["text"] == spoken(polyglot)
    assert told["choices"][0]["stop"] == cells.WORDS[client][cells.Stop.END]
    assert (told["usage"]["input"], told["usage"]["output"]) == (1, 60)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("client", [name for name in cells.CLIENTS if name != "openai_completions"])
@pytest.mark.parametrize("provider", TOOLED)
def test_a_tool_is_called(polyglot: Binary, client: str, provider: str, stream: bool) -> None:
    told = judge(client, stream, polyglot.url, f"{provider}-demo", USE, True)["choices"][0]  # type: ignore[no-untyped-call]
    assert [[name, json.loads(arguments)] for name, arguments in told["tools"]] == [CALL]
    assert told["stop"] == cells.WORDS[client][cells.Stop.TOOL_CALLS]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("client", [name for name in cells.CLIENTS if name != "openai_completions"])
def test_a_tool_is_refused_where_the_provider_has_none(polyglot: Binary, client: str, stream: bool) -> None:
    with pytest.raises((openai.BadRequestError, anthropic.BadRequestError, genai_errors.ClientError)) as caught:
        judge(client, stream, polyglot.url, "openai_completions-demo", USE, True)  # type: ignore[no-untyped-call]
    assert "400" in str(caught.value)
    assert "tools" in str(caught.value)


@pytest.mark.parametrize("generation", ["first", "second"])
def test_older_generations_of_the_official_libraries(polyglot: Binary, programs: Path, generation: str) -> None:
    cases = [
        [client, stream, polyglot.url, model, USE if tools else "Hello", tools]
        for client in cells.CLIENTS
        for model in MODELS
        for stream in (True, False)
        for tools in (False, True)
        if not (tools and (client == "openai_completions" or model not in WITH_TOOLS))
    ]
    out = run([str(programs / generation / "bin" / "python"), str(HERE / "judge.py")], cases)
    assert len(out) == len(cases)
    text = spoken(polyglot)
    for case, told in zip(cases, out, strict=True):
        assert "raised" not in told, (case, told)
        choice = told["choices"][0]
        if case[5]:
            assert [[name, json.loads(arguments)] for name, arguments in choice["tools"]] == [CALL], case
        else:
            assert choice["text"] == text, case


def test_langchain_and_llamaindex(polyglot: Binary, programs: Path) -> None:
    command = [str(programs / "chains" / "bin" / "python"), str(HERE / "chains.py"), polyglot.url, *WITH_TOOLS]
    check(run(command), cases=4, text=spoken(polyglot))


def test_npm_libraries(polyglot: Binary, programs: Path) -> None:
    command = ["node", str(HERE / "clients.mjs"), polyglot.url, *WITH_TOOLS]
    check(run(command, cwd=programs / "node"), cases=6, text=spoken(polyglot))


def check(out: list[dict[str, Any]], *, cases: int, text: str) -> None:
    assert len(out) == cases * len(WITH_TOOLS)
    for told in out:
        assert told["text"] == text, told
        assert told["tools"] == [CALL], told
