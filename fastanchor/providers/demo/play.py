"""From a request to the script of its answer: which endpoint it is, and where its waits and faults fall."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import parse_qs, unquote

import orjson

from fastanchor.providers.demo import plain
from fastanchor.providers.demo.ask import Answer, Ask, Body, Frame, Json, Language, Refused, answer_to
from fastanchor.providers.demo.chat import Chat
from fastanchor.providers.demo.completions import Completions
from fastanchor.providers.demo.generate import Generate
from fastanchor.providers.demo.lorem import words
from fastanchor.providers.demo.manner import Manner, UnknownWord, manner
from fastanchor.providers.demo.messages import Messages
from fastanchor.providers.demo.responses import Responses
from fastanchor.providers.demo.script import Cut, Script, Send, SlowHead, Stall, Step, Wait

Headers = Iterable[tuple[bytes, bytes]]
Plain = Callable[[Body, Manner], Json]

JSON = (b"content-type", b"application/json")
HTML = b"<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n"
_FIELDS = (b"x-demo-fault", b"x-demo-pace")
_GEMINI = re.compile(r"/models/([^/:]+):([A-Za-z]+)")
_MODEL = re.compile(r"/models/([^/:]+)")

TALK: dict[str, type[Chat] | type[Completions] | type[Responses] | type[Messages]] = {
    "/chat/completions": Chat,
    "/completions": Completions,
    "/responses": Responses,
    "/messages": Messages,
}


def answer(method: bytes, target: bytes, headers: Headers, body: bytes, *, number: int) -> Script:
    """The script of the answer to the `number`th request (from 1) of a demo provider.

    `target` is the request target, with or without a version (`/v1`, `/v1beta`) in front; header names are lower case.
    """
    path, _, query = target.decode("latin-1").partition("?")
    version, path = _version(unquote(path))
    fields = list(headers)
    if method in (b"GET", b"HEAD"):
        return _listing(version, path, any(name == b"anthropic-version" for name, _ in fields))
    if method != b"POST":
        return _refusal(Refused(405, f"{path}: method not allowed"), Chat(), Manner())
    return _post(path, query, [v.decode("latin-1") for n, v in fields if n in _FIELDS], body, number)


def _version(path: str) -> tuple[str, str]:
    for version in ("/v1beta", "/v1"):
        if path.startswith(version + "/"):
            return version, path.removeprefix(version)
    return "", path


def _listing(version: str, path: str, anthropic: bool) -> Script:
    gemini = version == "/v1beta"
    if path == "/models":
        return _whole(200, plain.gemini_model_list() if gemini else plain.model_list(anthropic))
    found = _MODEL.fullmatch(path)
    if found and found[1] in plain.MODELS:
        return _whole(200, plain.gemini_model(found[1]) if gemini else plain.model(found[1], anthropic))
    speaker: Language = Generate("", False, False) if gemini else Messages() if anthropic else Chat()
    return _refusal(Refused(404, f"{path}: not found"), speaker, Manner())


def _post(path: str, query: str, fields: list[str], body: bytes, number: int) -> Script:
    if path in TALK:
        return _talk(TALK[path](), None, body, fields, number)
    if path == "/embeddings":
        return _plain(Chat(), None, plain.embeddings, body, fields, number)
    if path == "/messages/count_tokens":
        return _plain(Messages(), None, _count_messages, body, fields, number)
    found = _GEMINI.fullmatch(path)
    if found is None:
        return _refusal(Refused(404, f"{path}: not found", code="not_found"), Chat(), Manner())
    return _gemini(found[1], found[2], parse_qs(query).get("alt") == ["sse"], body, fields, number)


def _gemini(model: str, verb: str, sse: bool, body: bytes, fields: list[str], number: int) -> Script:
    speaker = Generate(model, verb == "streamGenerateContent", sse)
    if verb in ("generateContent", "streamGenerateContent"):
        return _talk(speaker, model, body, fields, number)
    verbs: dict[str, Plain] = {
        "embedContent": plain.embed_content,
        "batchEmbedContents": plain.batch_embed_contents,
        "countTokens": lambda asked, _: {"totalTokens": words(speaker.read(asked).texts)},
    }
    if verb not in verbs:
        return _refusal(Refused(404, f"{verb}: not found"), speaker, Manner())
    return _plain(speaker, model, verbs[verb], body, fields, number)


def _count_messages(body: Body, manner: Manner) -> Json:
    return {"input_tokens": words(Messages().read_prompt(body).texts)}


def _talk(speaker: Language, model: str | None, body: bytes, fields: list[str], number: int) -> Script:
    try:
        asked = _parsed(body)
        how = _manner(model or asked.get("model"), fields, number)
        early = _early(speaker, how)
        if early is not None:
            return early
        said = answer_to(speaker.read(asked), how, number)
    except Refused as refused:
        return _refusal(refused, speaker, Manner())
    return _streamed(speaker, said) if said.ask.stream else _at_once(speaker, said.ask, speaker.whole(said), how)


def _plain(speaker: Language, model: str | None, make: Plain, body: bytes, fields: list[str], number: int) -> Script:
    try:
        asked = _parsed(body)
        how = _manner(model or asked.get("model"), fields, number)
        early = _early(speaker, how)
        return early or _at_once(speaker, None, make(asked, how), how)
    except Refused as refused:
        return _refusal(refused, speaker, Manner())


def _parsed(body: bytes) -> Body:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"the body is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise Refused(400, "the body is not a JSON object")
    return parsed


def _manner(model: Json, fields: list[str], number: int) -> Manner:
    try:
        return manner(model if isinstance(model, str) else "demo", *fields).on(number)
    except UnknownWord as unknown:
        message = f"The model {model!r} does not exist: {str(unknown)!r} means nothing here."
        raise Refused(404, message, "model") from None


def _early(speaker: Language, how: Manner) -> Script | None:
    """The faults that come before anything is read."""
    if how.reset:
        return Script(200, (), (*_slow_head(how), Cut()))
    if how.fail is not None:
        return _refusal(Refused(how.fail, f"The demo provider answers {how.fail}, as asked."), speaker, how)
    if how.empty:
        return Script(200, (JSON,), _slow_head(how))
    return None


def _refusal(refused: Refused, speaker: Language, how: Manner) -> Script:
    headers = [(b"content-type", b"text/html") if how.html else JSON]
    if how.retry_after is not None:
        headers.append((b"retry-after", b"%d" % how.retry_after))
    body = HTML if how.html else orjson.dumps(speaker.error(refused))
    return Script(refused.status, tuple(headers), (*_slow_head(how), Send(body)))


def _whole(status: int, body: Json) -> Script:
    return Script(status, (JSON,), (Send(orjson.dumps(body)),))


def _slow_head(how: Manner) -> tuple[Step, ...]:
    return (SlowHead(how.slow_head),) if how.slow_head else ()


def _at_once(speaker: Language, ask: Ask | None, body: Json, how: Manner) -> Script:
    """A plain answer: one wait, one send; a body that is cut short has no length."""
    text = orjson.dumps(body)
    before: list[Step] = list(_slow_head(how))
    if how.first_token:
        before.append(Wait(how.first_token))
    if how.stall is not None:
        return Script(200, (JSON,), (*before, Stall()))
    if how.error_in_band is not None:
        text = orjson.dumps(speaker.error(Refused(500, "The demo provider failed, as asked.")))
    if how.malformed is not None:
        text = text[: len(text) // 2]
    if how.cut is not None or how.end is not None:
        half = Send(text[: len(text) // 2])
        return Script(200, (JSON,), (*before, half, Cut()) if how.cut is not None else (*before, half), stream=True)
    return Script(200, (JSON,), (*before, Send(text)))


def _streamed(speaker: Language, said: Answer) -> Script:
    headers = ((b"content-type", speaker.content_type), (b"cache-control", b"no-cache"))
    return Script(200, headers, _paced(speaker, said), stream=True)


def _paced(speaker: Language, said: Answer) -> Iterator[Step]:
    """The frames of an answer at their pace; a fault comes when its number of tokens is out."""
    how, tokens = said.manner, 0
    yield from _slow_head(how)
    malformed = how.malformed is not None
    for frame in _frames(speaker, said):
        if frame.token or tokens:
            fault = _fault(speaker, said, tokens)
            if fault is not None:
                yield from fault
                return
            if malformed and tokens == how.malformed:
                malformed = False
                yield Send(speaker.garbage(said))
        if frame.token:
            seconds = how.pace if tokens else how.first_token
            if seconds:
                yield Wait(seconds)
            tokens += 1
        yield Send(frame.data)


def _frames(speaker: Language, said: Answer) -> Iterator[Frame]:
    """All frames, or all but the terminal marker."""
    held: Frame | None = None
    for frame in speaker.frames(said):
        if held is not None:
            yield held
        held = frame
    if held is not None and not said.manner.no_done:
        yield held


def _fault(speaker: Language, said: Answer, tokens: int) -> tuple[Step, ...] | None:
    """How a stream ends early after so many tokens, or None while it goes on."""
    how = said.manner
    if tokens == how.cut:
        return (Cut(),)
    if tokens == how.stall:
        return (Stall(),)
    if tokens == how.end:
        return ()
    if tokens == how.error_in_band:
        return (Send(speaker.broken(said)),)
    return None
