"""A Prompt as a Gemini request: only members that Gemini knows, since one that it does not is a 400.

What cannot be expressed is dropped and named, or refused, by the tables of reference §2.2; `Target.strict` decides for
the rows marked R*. Quirks: `no_json_schema` (schemas go as the Schema proto), `no_call_ids` (older Vertex).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import orjson

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import Format, MediaPart, Prompt, Tool
from fastanchor.dialects import foreign, schema
from fastanchor.dialects.contract import Target, Written
from fastanchor.dialects.gemini import thinking
from fastanchor.dialects.gemini.write_contents import ContentsWriter
from fastanchor.dialects.names import GEMINI, Names

NAME = "gemini"
MAX_STOPS = 5

Json: TypeAlias = dict[str, Any]

_INPUT = orjson.Fragment(b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}')
_TIERS = {"default": "standard", "standard": "standard", "flex": "flex", "priority": "priority"}
_TAKEN = frozenset({"truncation"})
"""What changes the answer elsewhere, and is done here by itself or not at all."""


def write(prompt: Prompt, target: Target) -> Written:
    """The request. Raises Fault(INVALID_REQUEST) for what cannot be expressed."""
    return _Writer(prompt, target).written()


class _Writer:
    def __init__(self, prompt: Prompt, target: Target) -> None:
        self._prompt = prompt
        self._target = target
        self._names = Names(GEMINI)
        self._dropped: list[str] = []

    def written(self) -> Written:
        prompt, target = self._prompt, self._target
        generation_3 = thinking.manner(target).kind == "level"
        contents = ContentsWriter(
            self._names, strict=target.strict, generation_3=generation_3, call_ids="no_call_ids" not in target.quirks
        )
        self._foreign()
        body: Json = {}
        tools = self._tools()
        instruction, body["contents"] = contents.write(prompt.turns)
        if instruction:
            body["systemInstruction"] = instruction
        if tools:
            body["tools"] = tools
        if tool_config := self._tool_config():
            body["toolConfig"] = tool_config
        if generation := self._generation():
            body["generationConfig"] = generation
        self._top(body)
        dropped = tuple(dict.fromkeys(self._dropped + contents.dropped))
        return Written(orjson.dumps(body), dropped, renamed=self._names.renamed)

    def _drop(self, name: str, there: object = True) -> None:
        if there:
            self._dropped.append(name)

    def _refuse(self, param: str, reason: str, *, firmly: bool = False) -> None:
        """R in the tables when firmly, R* otherwise."""
        if firmly or self._target.strict:
            raise Fault(Kind.INVALID_REQUEST, f"Invalid '{param}': {reason}", param=param)
        self._drop(param)

    def _foreign(self) -> None:
        """Members that only another dialect knows."""
        for field in foreign.fields(self._prompt, NAME):
            if field.reason and field.name not in _TAKEN:
                self._refuse(field.name, f"{field.reason}.", firmly=field.firm)
            self._drop(field.name)

    def _tools(self) -> list[Json]:
        functions = [self._function(tool) for tool in self._prompt.tools if tool.kind != "hosted"]
        hosted = [one for tool in self._prompt.tools if tool.kind == "hosted" and (one := self._hosted(tool))]
        self._drop("cache_control", any(tool.cache for tool in self._prompt.tools))
        return ([{"functionDeclarations": functions}] if functions else []) + hosted

    def _function(self, tool: Tool) -> Json:
        out: Json = {"name": self._names.sent(tool.name)}
        if tool.description:
            out["description"] = tool.description
        if tool.kind == "custom":
            if tool.data:
                self._refuse(f"{tool.path or 'tools'}.format", "the model takes no grammar for free text.")
            return {**out, "parametersJsonSchema": _INPUT}
        if not tool.schema:
            return out
        if "no_json_schema" not in self._target.quirks:
            return {**out, "parametersJsonSchema": orjson.Fragment(tool.schema)}
        reduced = schema.reduce(tool.schema)
        return {**out, "parameters": orjson.Fragment(reduced)} if reduced else out

    def _hosted(self, tool: Tool) -> Any:
        """Gemini's own as they are; another vendor's web search becomes Google's."""
        if tool.dialect == NAME:
            return orjson.Fragment(tool.data)
        if tool.name.startswith("web_search") or b'"web_search' in tool.data:
            return {"googleSearch": {}}
        self._refuse(tool.path or "tools", f"the model's provider has no hosted tool {tool.name or 'like it'!r}.")
        return None

    def _tool_config(self) -> Json:
        config: Json = dict(self._own("toolConfig."))
        choice, functions = self._prompt.tool_choice, [t for t in self._prompt.tools if t.kind != "hosted"]
        if not functions:
            return config
        if self._prompt.parallel_tools is False:
            self._drop("parallel_tool_calls")  # some clients always send it: a refusal would lock them out
        calling: Json = {}
        if choice is None or choice.mode == "auto":
            calling = {"mode": "AUTO"} if choice else {}
        elif choice.mode == "none":
            calling = {"mode": "NONE"}
        else:
            forced = choice.mode in ("required", "named") or choice.required
            # a subset that need not be called is only taken with VALIDATED
            calling = {"mode": "ANY" if forced else "VALIDATED"}
            if choice.names:
                calling["allowedFunctionNames"] = [self._names.sent(name) for name in choice.names]
        if calling.get("mode", "AUTO") == "AUTO" and all(tool.strict for tool in functions):
            calling = {"mode": "VALIDATED"}
        return {"functionCallingConfig": calling, **config} if calling else config

    def _generation(self) -> Json:
        prompt = self._prompt
        if len(prompt.stop) > MAX_STOPS:
            self._refuse("stop", f"at most {MAX_STOPS} stop sequences are taken.", firmly=True)
        told: Json = {
            "temperature": prompt.temperature, "topP": prompt.top_p, "topK": prompt.top_k,
            "candidateCount": prompt.choices if prompt.choices > 1 else None,
            "maxOutputTokens": prompt.max_output, "stopSequences": list(prompt.stop) or None, "seed": prompt.seed,
            "presencePenalty": prompt.presence_penalty, "frequencyPenalty": prompt.frequency_penalty,
            "responseLogprobs": True if prompt.logprobs else None,
            "logprobs": prompt.top_logprobs if prompt.logprobs else None,
        }  # fmt: skip
        config = {name: value for name, value in told.items() if value is not None}
        if prompt.format is not None:
            config |= self._format(prompt.format)
        config |= self._thinking()
        config |= self._resolution()
        return {**config, **self._own("generationConfig.")}

    def _format(self, wanted: Format) -> Json:
        if wanted.kind == "text":
            return {}
        out: Json = {"responseMimeType": "application/json"}
        if wanted.kind == "json_object" or not wanted.schema:
            return out
        if "no_json_schema" not in self._target.quirks:
            return {**out, "responseJsonSchema": orjson.Fragment(wanted.schema)}
        reduced = schema.reduce(wanted.schema)
        return {**out, "responseSchema": orjson.Fragment(reduced)} if reduced else out

    def _thinking(self) -> Json:
        reasoning = self._prompt.reasoning
        if reasoning is None:
            return {}
        config = thinking.config(reasoning, self._target, self._prompt.max_output)
        if config is None:
            self._drop("reasoning", reasoning.mode != "off")
        return {"thinkingConfig": config} if config else {}

    def _resolution(self) -> Json:
        """`detail` is per image, mediaResolution for all: carried where the images agree."""
        details = {
            part.detail for turn in self._prompt.turns for part in turn.parts
            if isinstance(part, MediaPart) and part.kind == "image"
        }  # fmt: skip
        if details in ({"low"}, {"high"}):
            return {"mediaResolution": f"MEDIA_RESOLUTION_{details.pop().upper()}"}
        self._drop("detail", details - {"", "auto"})
        return {}

    def _top(self, body: Json) -> None:
        prompt = self._prompt
        if tier := _TIERS.get(prompt.service_tier):
            body["serviceTier"] = tier
        self._drop("service_tier", prompt.service_tier not in (*_TIERS, "", "auto"))
        for name, value in (
            ("logit_bias", prompt.logit_bias), ("verbosity", prompt.verbosity), ("user", prompt.user),
            ("metadata", prompt.metadata), ("prompt_cache_key", prompt.cache_key), ("store", prompt.store),
        ):  # fmt: skip
            self._drop(name, value)
        own = self._prompt.extra.get(NAME, {})
        body.update({name: orjson.Fragment(data) for name, data in own.items() if "." not in name})

    def _own(self, prefix: str) -> Json:
        own = self._prompt.extra.get(NAME, {})
        return {
            name.removeprefix(prefix): orjson.Fragment(data) for name, data in own.items() if name.startswith(prefix)
        }
