"""Every recorded answer in every client dialect, judged by that dialect's official library.

`golden/answers.json` is what each recording says; `golden/matrix.md` what each client gets of it. Both are written anew
with `python -m tests.interop.test_goldens`, and then read by somebody before they are committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import orjson
import pytest
from google.genai import errors as genai_errors

from fastanchor.core.events import Event, Failed
from tests.conftest import RECORDINGS
from tests.interop import cells
from tests.interop.judge import judge
from tests.interop.programs import run
from tests.interop.replay import Replay, replaying

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::UserWarning"),  # google-genai on a word that it does not know
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
NAMES = cells.names(RECORDINGS) if RECORDINGS.is_dir() else []
ERRORS = cells.errors(RECORDINGS) if RECORDINGS.is_dir() else []

UNREADABLE = {
    # recordings that their own library reads wrongly or not at all: our decoder's reading was checked by hand
    "anthropic/max-tokens-partial-json.sse": "it closes the arguments that were cut off",
    "gemini/json-array-stream-tools.json": "it asks for server-sent events, this is the other framing",
    "gemini/vertex-partial-args-missing-terminal.sse": "it does not put arguments together from paths",
    "gemini/vertex-partial-args.sse": "likewise",
    "openai-compat/anthropic-compat-tool-index-starts-at-1.sse": "the index of the first call is 1",
    "openai-compat/kimi-tool-id-repeated.sse": "id and name come again on each piece",
    "openai-compat/mistral-reasoning-content-array.sse": "the content is an array",
    "openai-compat/tool-arguments-null.sse": "arguments are null",
}
DIFFERS: dict[tuple[str, str, str], str] = {}
"""Cells that a generation of a library cannot read whoever writes them, by the words of its error."""

RAISED = {
    "openai_chat": openai.APIError, "openai_completions": openai.APIError, "openai_responses": openai.APIError,
    "anthropic": anthropic.APIError, "gemini": genai_errors.APIError,
}  # fmt: skip


@pytest.fixture(scope="module")
def replay() -> Iterator[Replay]:
    with replaying() as server:
        yield server


def told_by(replay: Replay, name: str, body: bytes, client: str) -> dict[str, Any]:
    out, kind = cells.translated(name, body, client)
    return judge(client, cells.is_stream(name), replay.url, replay.add(out, kind))  # type: ignore[no-any-return, no-untyped-call]


def in_one_spelling(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**choice, "tools": [[name, cells.canonical(arguments)] for name, arguments in choice["tools"]]}
        for choice in choices
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_says_what_was_written_down(recordings: Path, name: str) -> None:
    written = orjson.loads((GOLDEN / "answers.json").read_bytes())
    assert cells.golden(cells.events_of(name, (recordings / name).read_bytes())) == written[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_providers_own_library_says_the_same_of_the_recording(recordings: Path, replay: Replay, name: str) -> None:
    body = (recordings / name).read_bytes()
    events = cells.events_of(name, body)
    if isinstance(events[-1], Failed):
        return
    source = cells.source_of(name)
    kind = b"text/event-stream" if cells.is_stream(name) else b"application/json"
    choices, _ = cells.expected(events, source)
    try:
        told = judge(source, cells.is_stream(name), replay.url, replay.add(body, kind))  # type: ignore[no-untyped-call]
        same = in_one_spelling(told["choices"])
    except Exception as error:
        same = [{"raised": repr(error)}]
    choices[0]["stop"] = same[0].get("stop")
    assert (same == choices) == (name not in UNREADABLE), same


@pytest.mark.parametrize("client", cells.CLIENTS)
@pytest.mark.parametrize("name", NAMES)
def test_the_clients_own_library_reads_it(recordings: Path, replay: Replay, name: str, client: str) -> None:
    body = (recordings / name).read_bytes()
    events = cells.events_of(name, body)
    if isinstance(events[-1], Failed):
        if not cells.is_stream(name):
            return  # told by its status: there is no answer to read
        with pytest.raises(RAISED[client]):
            told_by(replay, name, body, client)
        return
    compare(name, events, client, told_by(replay, name, body, client))


@pytest.mark.parametrize("client", cells.CLIENTS)
@pytest.mark.parametrize("name", ERRORS)
def test_the_clients_own_library_raises_a_recorded_error(
    recordings: Path, replay: Replay, name: str, client: str
) -> None:
    """The provider's own words where it judged the request, the gateway's where the failure is the provider's."""
    body = (recordings / name).read_bytes()
    status, told = cells.refused(name, body, client)
    with pytest.raises(RAISED[client]) as caught:
        judge(client, False, replay.url, replay.add(told, b"application/json", status))  # type: ignore[no-untyped-call]
    assert getattr(caught.value, "status_code", getattr(caught.value, "code", 0)) == status
    own = cells.message_of(body)
    if status == 400:
        assert cells.message_of(told) == own
        assert (told == body) == (cells.family(client) == cells.family(cells.source_of(name)))
    else:
        assert own not in str(caught.value)


def compare(name: str, events: list[Event], client: str, told: dict[str, Any]) -> None:
    """What a library said against what it must say."""
    choices, losses = cells.expected(events, client)
    found = in_one_spelling(told["choices"])
    if client == cells.source_of(name) and found[0]["stop"] == cells.native_stop(events):
        choices[0]["stop"] = found[0]["stop"]  # more exact than the word that all vendors have
    if cells.cut_call(events) and client == "anthropic":  # the library closes what was cut off
        found[0]["tools"] = choices[0]["tools"]
    assert found == choices, losses
    usage = cells.counted(cells.usage_of(events), client)
    if usage is not None:
        assert told["usage"] == usage


@pytest.mark.parametrize("generation", ["first", "second"])
def test_older_generations_of_the_libraries_read_them_too(
    recordings: Path, replay: Replay, programs: Path, generation: str
) -> None:
    asked, wanted = [], []
    for name in NAMES:
        body = (recordings / name).read_bytes()
        events = cells.events_of(name, body)
        for client in cells.CLIENTS if not isinstance(events[-1], Failed) else ():
            asked.append([client, cells.is_stream(name), replay.url, replay.add(*cells.translated(name, body, client))])
            wanted.append((name, events, client))
    out = run([str(programs / generation / "bin" / "python"), str(HERE / "judge.py")], asked)
    for (name, events, client), told in zip(wanted, out, strict=True):
        known = DIFFERS.get((generation, client, name))
        if known is not None:
            assert known in told.get("raised", ""), (name, client, told)
            continue
        assert "raised" not in told, (name, client, told)
        compare(name, events, client, told)


def test_the_table_of_what_each_client_gets_is_up_to_date(recordings: Path) -> None:
    assert (GOLDEN / "matrix.md").read_text() == table(recordings)


def table(root: Path) -> str:
    """The matrix, one line per recording. `full`: text, refusals, tool calls, ending and usage all arrive."""
    lines = [f"| recording | {' | '.join(cells.CLIENTS)} |", f"|---|{'---|' * len(cells.CLIENTS)}"]
    for name in cells.names(root):
        body = (root / name).read_bytes()
        events = cells.events_of(name, body)
        lines.append(f"| {name} | {' | '.join(_cell(events, name, client) for client in cells.CLIENTS)} |")
    for name in cells.errors(root):
        told = (cells.refused(name, (root / name).read_bytes(), client) for client in cells.CLIENTS)
        lines.append(f"| {name} | {' | '.join(f'status {status}' for status, _ in told)} |")
    return "\n".join(lines) + "\n"


def _cell(events: list[Any], name: str, client: str) -> str:
    if isinstance(events[-1], Failed):
        return f"error: {events[-1].fault.kind.value}"
    losses = cells.expected(events, client)[1]
    if not cells.usage_of(events).known:
        losses.append("usage estimated")
    return ", ".join(losses) or "full"


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    answers = {name: cells.golden(cells.events_of(name, (RECORDINGS / name).read_bytes())) for name in NAMES}
    (GOLDEN / "answers.json").write_bytes(orjson.dumps(answers, option=orjson.OPT_INDENT_2) + b"\n")
    (GOLDEN / "matrix.md").write_text(table(RECORDINGS))


if __name__ == "__main__":
    main()
