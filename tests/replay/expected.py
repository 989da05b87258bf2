"""What a span has to say of a recorded exchange, read from the recorded JSON alone. Imports nothing of the product."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.replay.exchanges import Exchange
from tests.replay.observed import Message, Part

Json = Mapping[str, Any]

OPERATIONS = {
    "chat/completions": "chat",
    "responses": "chat",
    "responses/compact": "compact_response",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "images/generations": "generate_content",
    "audio/speech": "speech",
    "audio/transcriptions": "transcription",
}
PROVIDERS = {
    "api.openai.com": "openai",
    "openrouter.ai": "openrouter",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
}
ERRORS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    429: "RateLimitError",
}
TEXT_KINDS = ("text", "input_text", "output_text", "summary_text", "reasoning_text")
MEDIA_KINDS = ("image_url", "input_image", "input_audio", "file", "input_file", "audio_url", "video_url")
CALLS_OF_CALLER = ("function_call", "custom_tool_call", "computer_call", "local_shell_call", "apply_patch_call")
USAGE = "gen_ai.usage."
ABSENT = (
    *("gen_ai.request." + name for name in ("max_tokens", "seed", "temperature", "top_p", "top_k", "choice.count")),
    *("gen_ai.request.stop_sequences", "gen_ai.request.reasoning.level", "gen_ai.output.type"),
    *("gen_ai.response.id", "gen_ai.response.model", "gen_ai.response.finish_reasons"),
    *("openai.request.service_tier", "openai.response.service_tier", "openai.response.system_fingerprint"),
    *("error.type", "http.response.status_code"),
    *(USAGE + name for name in ("input_tokens", "output_tokens", "total_tokens", "reasoning.output_tokens")),
    *(USAGE + name for name in ("cache_read.input_tokens", "cache_write.input_tokens")),
    *(USAGE + name for name in ("audio.input_tokens", "audio.output_tokens")),
)
"""Attributes that are not there unless the exchange says them: nothing is made up."""


@dataclass
class Expected:
    """What one span has to say; None in `output` or `input`: not looked at."""

    attributes: dict[str, Any] = field(default_factory=dict)
    failed: bool = False
    input: list[Message] | None = None
    output: list[Part] | None = None
    instructions: str = ""
    tools: list[str] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    """Attributes that may be there or not."""

    @property
    def absent(self) -> set[str]:
        return set(ABSENT) - set(self.attributes) - self.open

    def say(self, name: str, value: Any) -> None:
        if value not in (None, "", [], ()):
            self.attributes[name] = value


def expected_of(exchange: Exchange) -> Expected:
    """Return what a span of this exchange has to say."""
    span = Expected()
    is_fetch = exchange.method == "GET"
    span.say("gen_ai.operation.name", "fetch_response" if is_fetch else OPERATIONS[exchange.api])
    span.say("server.address", exchange.host)
    span.say("gen_ai.provider.name", PROVIDERS.get(exchange.host))
    if is_fetch:
        span.say("gen_ai.response.id", exchange.fetched)
        span.say("gen_ai.request.stream", exchange.is_streamed or None)
    else:
        _read_request(span, exchange.api, exchange.request or {})
    if exchange.status >= 400:
        span.failed = True
        span.say("error.type", ERRORS[exchange.status])
        span.say("http.response.status_code", exchange.status)
        error = exchange.document.get("error")
        code = error.get("code") if isinstance(error, Mapping) else None
        if PROVIDERS.get(exchange.host) == "openai" and isinstance(code, str):
            span.say("openai.response.error.code", code)
        return span
    if exchange.is_streamed:
        reader = _read_chat_stream if exchange.api in ("chat/completions", "completions") else _read_response_stream
        reader(span, exchange)
    elif exchange.document:
        _read_answer(span, exchange)
    return span


# -- the request ----------------------------------------------------------------------------------------------------


def _read_request(span: Expected, api: str, request: Json) -> None:
    say = span.say
    say("gen_ai.request.model", request.get("model"))
    limits = [request.get(name) for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")]
    say("gen_ai.request.max_tokens", next((limit for limit in limits if limit is not None), None))
    for name in ("seed", "top_k"):
        say(f"gen_ai.request.{name}", request.get(name))
    for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty"):
        if request.get(name) is not None:
            span.attributes[f"gen_ai.request.{name}"] = float(request[name])
    say("gen_ai.request.stream", request.get("stream") or None)
    say("openai.request.service_tier", request.get("service_tier"))
    effort = request.get("reasoning_effort") or (request.get("reasoning") or {}).get("effort")
    say("gen_ai.request.reasoning.level", effort)
    say("gen_ai.request.choice.count", request.get("n") if request.get("n") != 1 else None)
    stop = request.get("stop")
    say("gen_ai.request.stop_sequences", (stop,) if isinstance(stop, str) else tuple(stop or ()))
    say("gen_ai.output.type", _output_type(api, request))
    if api == "embeddings" and request.get("encoding_format"):
        say("gen_ai.request.encoding_formats", (request["encoding_format"],))
    span.tools = [name for tool in request.get("tools") or () if (name := _tool_name(tool))]
    span.instructions = request.get("instructions") or ""
    if api == "chat/completions":
        span.input = [_chat_message(message) for message in request["messages"]]
    elif api == "responses":
        say("gen_ai.request.previous_response.id", request.get("previous_response_id"))
        span.input = _response_input(request.get("input"))
    elif api == "completions" and isinstance(request.get("prompt"), str):
        span.input = [("user", [("text", request["prompt"])])]


def _output_type(api: str, request: Json) -> str | None:
    by_api = {"audio/speech": "speech", "images/generations": "image"}
    if api in by_api:
        return by_api[api]
    shape = request.get("response_format") if api == "chat/completions" else (request.get("text") or {}).get("format")
    names = {"json_object": "json", "json_schema": "json", "text": "text"}
    return names.get(shape["type"]) if isinstance(shape, Mapping) else None


def _tool_name(tool: Json) -> str | None:
    nested = tool.get(tool.get("type", ""))
    # A built-in tool is called by its type: the conventions' schema asks for a name.
    name: str | None = (nested if isinstance(nested, Mapping) else tool).get("name") or tool.get("type")
    return name


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content] if content else []
    return [part["text"] for part in content or () if part.get("type") in TEXT_KINDS and part.get("text") is not None]


def _parts(content: Any) -> list[Part]:
    """Return texts and media in the order in which they stand."""
    if isinstance(content, str):
        return [("text", content)] if content else []
    parts: list[Part] = []
    for part in content or ():
        if part.get("type") in TEXT_KINDS:
            parts.append(("text", part["text"]))
        elif part.get("type") in MEDIA_KINDS:
            parts.append(("media",))
    return parts


def _result(content: Any) -> Any:
    texts = _texts(content)
    media = 0 if isinstance(content, str) else sum(part.get("type") in MEDIA_KINDS for part in content or ())
    return (texts, media) if media else "".join(texts)


def _arguments(text: Any) -> Any:
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return text or None
    return value if isinstance(value, dict) else text


def _call(call: Json) -> Part:
    function = call.get("function") or call.get("custom") or {}
    arguments = function.get("arguments", function.get("input"))
    return "call", call.get("id") or None, function.get("name"), _arguments(arguments)


def _chat_message(message: Json) -> Message:
    role, content = message["role"], message.get("content")
    if role == "tool":
        return role, [("result", message.get("tool_call_id"), _result(content))]
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    parts: list[Part] = [("reasoning", reasoning)] if reasoning else []
    return role, [*parts, *_parts(content), *map(_call, message.get("tool_calls") or ())]


def _response_input(value: Any) -> list[Message] | None:
    """Return the messages of `input`; None where there are items that this reader does not know."""
    if isinstance(value, str):
        return [("user", [("text", value)])] if value else []
    messages: list[Message] = []
    for item in value or ():
        kind = item.get("type")
        if kind in (None, "message"):
            messages.append((item["role"], _parts(item.get("content"))))
        elif kind in ("function_call", "custom_tool_call"):
            arguments = _arguments(item.get("arguments", item.get("input")))
            messages.append(("assistant", [("call", item.get("call_id"), item.get("name"), arguments)]))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            messages.append(("tool", [("result", item.get("call_id"), _result(item.get("output")))]))
        elif kind == "reasoning":
            texts = _texts(item.get("summary")) + _texts(item.get("content"))
            if texts:
                messages.append(("assistant", [("reasoning", text) for text in texts]))
        else:
            return None
    return messages


# -- the answer -----------------------------------------------------------------------------------------------------


def _read_answer(span: Expected, exchange: Exchange) -> None:
    answer, say = exchange.document, span.say
    if exchange.api in ("chat/completions", "completions"):
        _read_head(span, answer)
        _read_usage(span, answer.get("usage"))
        _say_choices(span, [_choice(choice) for choice in answer["choices"]])
    elif exchange.api in ("responses", "responses/compact"):
        _read_response(span, answer, is_fetch=exchange.method == "GET", is_compacted=exchange.api != "responses")
    elif exchange.api == "embeddings":
        say("gen_ai.response.model", answer.get("model"))
        say("gen_ai.response.id", answer.get("id"))
        say("gen_ai.embeddings.dimension.count", _dimensions(answer["data"][0]["embedding"]))
        _read_usage(span, answer.get("usage"))
    elif exchange.api == "images/generations":
        say("gen_ai.response.images.count", len(answer["data"]))
        _read_usage(span, answer.get("usage"))
    elif exchange.api == "audio/transcriptions":
        span.output = [("text", answer["text"])]
        _read_usage(span, answer.get("usage"))


def _dimensions(vector: str | list[float]) -> int:
    return len(vector) if isinstance(vector, list) else len(base64.b64decode(vector)) // 4


def _read_head(span: Expected, answer: Json) -> None:
    for name, member in (("gen_ai.response.id", "id"), ("gen_ai.response.model", "model")):
        if name not in span.attributes:
            span.say(name, answer.get(member))
    for name in ("service_tier", "system_fingerprint"):
        span.say(_vendor_name(span, name), answer.get(name))


def _vendor_name(span: Expected, name: str) -> str:
    """Return the attribute of a fact that OpenAI's API names: `openai.*` is for OpenAI and hosts that nobody knows."""
    provider = PROVIDERS.get(span.attributes["server.address"], "openai")
    return f"{'openai' if provider == 'openai' else 'gen_ai'}.response.{name}"


def _read_usage(span: Expected, usage: Any) -> None:
    if not isinstance(usage, Mapping):
        return
    asked = _details(usage, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    answered = _details(usage, "completion_tokens_details", "output_tokens_details", "output_token_details")
    counts = {
        "input_tokens": usage.get("prompt_tokens", usage.get("input_tokens")),
        "output_tokens": usage.get("completion_tokens", usage.get("output_tokens")),
        "total_tokens": usage.get("total_tokens"),
        "cache_read.input_tokens": asked.get("cached_tokens", usage.get("cached_tokens")),
        "cache_write.input_tokens": asked.get("cache_write_tokens"),
        "reasoning.output_tokens": answered.get("reasoning_tokens"),
        "audio.input_tokens": asked.get("audio_tokens"),
        "audio.output_tokens": answered.get("audio_tokens"),
    }
    for name, count in counts.items():
        span.say(USAGE + name, count)
    if usage.get("cost") is not None:
        span.say(USAGE + "total_cost", float(usage["cost"]))
        span.say(USAGE + "cost.source", "response")


def _details(usage: Json, *names: str) -> Json:
    return next((usage[name] for name in names if usage.get(name)), {})


def _choice(choice: Json) -> tuple[str | None, list[Part]]:
    message = choice.get("message") or {"content": choice.get("text")}
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    parts: list[Part] = [("reasoning", reasoning)] if reasoning else []
    parts += _parts(message.get("content"))
    if message.get("refusal"):
        parts.append(("refusal", message["refusal"]))
    return choice.get("finish_reason"), [*parts, *map(_call, message.get("tool_calls") or ())]


def _say_choices(span: Expected, choices: Iterable[tuple[str | None, list[Part]]]) -> None:
    reasons = [reason for reason, _ in choices]
    if any(reasons):
        span.say("gen_ai.response.finish_reasons", tuple(reason or "error" for reason in reasons))
    span.output = [part for _, parts in choices for part in parts]


def _read_chat_stream(span: Expected, exchange: Exchange) -> None:
    folded: dict[int, dict[str, Any]] = {}
    for event in exchange.events:
        _read_head(span, event)
        usage = event.get("usage") or (event.get("x_groq") or {}).get("usage")
        _read_usage(span, usage)
        for choice in event.get("choices") or ():
            fold = folded.setdefault(
                choice.get("index") or 0, {"reason": None, "text": "", "refusal": "", "reasoning": "", "calls": {}}
            )
            fold["reason"] = choice.get("finish_reason") or fold["reason"]
            delta = choice.get("delta") or {"content": choice.get("text")}
            fold["text"] += "".join(_texts(delta.get("content")))
            fold["refusal"] += delta.get("refusal") or ""
            fold["reasoning"] += delta.get("reasoning") or delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls") or ():
                piece = call.get("function") or {}
                position = call.get("index", len(fold["calls"]))
                first = fold["calls"].setdefault(position, {"id": None, "name": "", "arguments": ""})
                first["id"] = first["id"] or call.get("id")
                first["name"] += piece.get("name") or ""
                first["arguments"] += piece.get("arguments") or ""
    _say_choices(span, [_folded(folded[index]) for index in sorted(folded)])


def _folded(fold: Json) -> tuple[str | None, list[Part]]:
    texts: list[Part] = [(name, fold[name]) for name in ("reasoning", "text", "refusal") if fold[name]]
    calls: list[Part] = [
        ("call", call["id"], call["name"], _arguments(call["arguments"])) for _, call in sorted(fold["calls"].items())
    ]
    return fold["reason"], texts + calls


def _read_response_stream(span: Expected, exchange: Exchange) -> None:
    """The last event carries the whole response."""
    ends = ("response.completed", "response.incomplete", "response.failed")
    (end,) = [event["response"] for event in exchange.events if event["type"] in ends]
    _read_response(span, end, is_fetch=exchange.method == "GET", is_compacted=False)


def _read_response(span: Expected, response: Json, *, is_fetch: bool, is_compacted: bool) -> None:
    say, status, output = span.say, response.get("status"), response.get("output") or []
    say("gen_ai.response.id", response.get("id"))
    say("gen_ai.response.model", response.get("model"))
    say("gen_ai.response.status", status)
    say(_vendor_name(span, "service_tier"), response.get("service_tier"))
    if is_fetch:
        # Counted by whoever sees the end of a background response first.
        span.open |= {name for name in ABSENT if name.startswith(USAGE)}
        span.instructions = response.get("instructions") or ""
    else:
        _read_usage(span, response.get("usage"))
    span.failed = status == "failed" and not is_fetch
    if status == "completed" and not is_compacted:
        waits = any(item["type"] in CALLS_OF_CALLER for item in output)
        say("gen_ai.response.finish_reasons", ("tool_calls" if waits else "stop",))
    elif status == "incomplete":
        reason = response["incomplete_details"]["reason"]
        say("gen_ai.response.finish_reasons", ("length" if reason == "max_output_tokens" else reason,))
    elif status == "failed":
        say("gen_ai.response.finish_reasons", ("error",))
    parts = [part for item in output for part in _output_parts(item)]
    # What is no text of the answer comes behind it.
    span.output = sorted(parts, key=lambda part: part[0] == "compaction")


def _output_parts(item: Json) -> list[Part]:
    match item["type"]:
        case "message":
            return [
                ("refusal", part["refusal"]) if part.get("refusal") else ("text", part["text"])
                for part in item["content"]
                if part.get("refusal") or part.get("text")
            ]
        case "function_call" | "custom_tool_call":
            return [("call", item["call_id"], item["name"], _arguments(item.get("arguments", item.get("input"))))]
        case "reasoning":
            texts = _texts(item.get("summary")) + _texts(item.get("content"))
            return [("reasoning", "\n\n".join(texts))] if texts else []
        case kind if kind in CALLS_OF_CALLER:
            # A built-in tool that the caller runs: what it is to do stands beside what every item has.
            arguments = {name: value for name, value in item.items() if name not in ("id", "type", "status", "call_id")}
            return [("call", item["call_id"], kind.removesuffix("_call"), arguments)]
        case "compaction":
            return [("compaction",)]
        case kind if kind.endswith("_call") or kind.startswith("mcp_"):
            return [("server call", kind.removesuffix("_call"))]
    return []
