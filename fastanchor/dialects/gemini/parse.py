"""A Gemini request as a Prompt.

- Calls without an id get one by their place (`call_0`…); results are matched by id, else by name in order.
- `parameters` and `responseSchema` (the Schema proto) become JSON Schema; `parametersJsonSchema` keeps its bytes.
- What only Gemini knows stays raw in `extra["gemini"]`, members of generationConfig as "generationConfig.member".
"""

from __future__ import annotations

from fastanchor.core.call import Call
from fastanchor.core.prompt import Format, Prompt, Reasoning, Tool, ToolChoice
from fastanchor.dialects import schema
from fastanchor.dialects.gemini.parse_contents import Contents
from fastanchor.dialects.gemini.proto import Message

NAME = "gemini"

_KNOWN = frozenset({
    "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "serviceTier", "store", "model",
})  # fmt: skip
_KNOWN_CONFIG = frozenset({
    "temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "seed", "presencePenalty",
    "frequencyPenalty", "responseLogprobs", "logprobs", "responseMimeType", "responseSchema", "responseJsonSchema",
    "_responseJsonSchema", "thinkingConfig",
})  # fmt: skip


def parse(call: Call) -> Prompt:
    """The whole request. Raises Fault that names the member."""
    request = Message(call.body)
    if (nested := request.message("generateContentRequest")) is not None:  # countTokens may wrap it
        request = nested
    contents = Contents()
    prompt = Prompt(turns=contents.system(request) + contents.turns(request))
    prompt.tools = [tool for message in request.messages("tools") for tool in _tools(message)]
    _tool_config(request, prompt)
    _generation(request, prompt)
    prompt.service_tier = _tier(request)
    prompt.store = request.flag("store")
    extra = request.rest(_KNOWN)
    config = request.message("generationConfig")
    if config is not None:
        extra |= {f"generationConfig.{name}": data for name, data in config.rest(_KNOWN_CONFIG).items()}
    if extra:
        prompt.extra.setdefault(NAME, {}).update(extra)
    return prompt


def _tier(request: Message) -> str:
    return request.string("serviceTier").lower().removeprefix("service_tier_").replace("unspecified", "")


def _tools(message: Message) -> list[Tool]:
    """One entry of `tools`: any number of functions, and hosted tools by their member name."""
    tools = []
    for name in message.names():
        if name == "functionDeclarations":
            tools += [_function(declaration) for declaration in message.messages(name)]
        else:
            data = b'{"%s":%s}' % (name.encode(), message.raw(name))
            tools.append(Tool("hosted", name, data=data, dialect=NAME, path=message.at(name)))
    return tools


def _function(declaration: Message) -> Tool:
    name = declaration.string("name")
    if not name:
        raise declaration.refuse("a function needs a name.", "name")
    given = declaration.raw("parametersJsonSchema")
    if not given and (proto := declaration.raw("parameters")):
        given = schema.expand(proto, declaration.at("parameters"))
    return Tool("function", name, declaration.string("description"), given, path=declaration.path)


def _tool_config(request: Message, prompt: Prompt) -> None:
    """functionCallingConfig as a tool choice. VALIDATED is AUTO that keeps to the schema."""
    outer = request.message("toolConfig")
    config = outer.message("functionCallingConfig") if outer else None
    if outer is not None and (rest := outer.rest(frozenset({"functionCallingConfig"}))):
        prompt.extra.setdefault(NAME, {}).update({f"toolConfig.{name}": data for name, data in rest.items()})
    if config is None:
        return
    mode, names = config.string("mode").upper(), config.strings("allowedFunctionNames")
    if mode not in ("", "MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"):
        raise config.refuse("it must be AUTO, ANY, NONE or VALIDATED.", "mode")
    if mode == "NONE":
        prompt.tool_choice = ToolChoice("none")
    elif mode == "ANY" and len(names) == 1:
        prompt.tool_choice = ToolChoice("named", names, required=True)
    elif names:
        prompt.tool_choice = ToolChoice("allowed", names, required=mode == "ANY")
    elif mode == "ANY":
        prompt.tool_choice = ToolChoice("required")
    elif mode in ("AUTO", "VALIDATED"):
        prompt.tool_choice = ToolChoice("auto")


def _generation(request: Message, prompt: Prompt) -> None:
    config = request.message("generationConfig")
    if config is None:
        return
    prompt.temperature, prompt.top_p = config.number("temperature"), config.number("topP")
    prompt.top_k, prompt.seed = config.integer("topK"), config.integer("seed")
    prompt.choices = config.integer("candidateCount") or 1
    prompt.max_output = config.integer("maxOutputTokens")
    prompt.stop = config.strings("stopSequences")
    prompt.presence_penalty = config.number("presencePenalty")
    prompt.frequency_penalty = config.number("frequencyPenalty")
    prompt.logprobs = bool(config.flag("responseLogprobs"))
    prompt.top_logprobs = config.integer("logprobs")
    prompt.format = _format(config)
    prompt.reasoning = _reasoning(config)


def _format(config: Message) -> Format | None:
    mime = config.string("responseMimeType")
    given = config.raw("responseJsonSchema") or config.raw("_responseJsonSchema")
    if not given and (proto := config.raw("responseSchema")):
        given = schema.expand(proto, config.at("responseSchema"))
    if given:
        return Format("json_schema", "response", given)
    if mime == "application/json":
        return Format("json_object")
    if mime not in ("", "text/plain"):
        raise config.refuse("only text/plain and application/json can be answered.", "responseMimeType")
    return None


def _reasoning(config: Message) -> Reasoning | None:
    """thinkingBudget 0 is off and -1 automatic; thinkingLevel is an effort."""
    thinking = config.message("thinkingConfig")
    if thinking is None:
        return None
    include = bool(thinking.flag("includeThoughts"))
    level = thinking.string("thinkingLevel").lower().removeprefix("thinking_level_").replace("unspecified", "")
    budget = thinking.integer("thinkingBudget")
    if budget is not None and budget < -1:
        raise thinking.refuse("it must be -1, 0 or more.", "thinkingBudget")
    if budget == 0:
        return Reasoning("off", include=include)
    if level or (budget is not None and budget > 0):
        return Reasoning("on", level, budget if budget and budget > 0 else None, include=include)
    return Reasoning("auto", include=include)
