"""Reading `usage`: the token counts and the cost of an answer, in the spellings of OpenAI and of those who serve its API.

A count that is stated in several ways is taken once: a zero never takes the place of another number, and OpenAI's own
spelling wins. Totals include their parts, as the GenAI conventions want it: where a provider counts a part beside the
total, the stated `total_tokens` decides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from llm_otel_broadcast.clients.reader import Members, all_members_of, declares_only, items_of
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.usage import UnreadUsage, Usage

_COUNTS: Final = {
    # OpenAI's chat completions, completions and embeddings, and everybody who serves them
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
    # OpenAI's responses, images, transcriptions and realtime; Anthropic's messages, as some gateways pass them on
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
}
"""Totals, by the member of `usage` that states them."""
_INPUT_PARTS: Final = {
    # OpenAI, and everybody who serves its API
    "cached_tokens": "cache_read_tokens",
    "text_tokens": "input_text_tokens",
    "image_tokens": "input_image_tokens",
    "audio_tokens": "input_audio_tokens",
    # OpenRouter (usage accounting), for models of Google
    "video_tokens": "input_video_tokens",
    # OpenAI's responses (gpt-5.6 and newer) and OpenRouter
    "cache_write_tokens": "cache_write_tokens",
    # LiteLLM: litellm/types/utils.py, PromptTokensDetailsWrapper
    "cache_creation_tokens": "cache_write_tokens",
    # Alibaba's Model Studio (Qwen), explicit cache
    "cache_creation_input_tokens": "cache_write_tokens",
}
_OUTPUT_PARTS: Final = {
    "reasoning_tokens": "reasoning_tokens",
    "text_tokens": "output_text_tokens",
    "image_tokens": "output_image_tokens",
    "audio_tokens": "output_audio_tokens",
    "video_tokens": "output_video_tokens",
}
_CACHED_PARTS: Final = {
    "text_tokens": "cached_text_tokens",
    "image_tokens": "cached_image_tokens",
    "audio_tokens": "cached_audio_tokens",
}
DETAILS_OF_CHAT: Final = {"prompt_tokens_details": _INPUT_PARTS, "completion_tokens_details": _OUTPUT_PARTS}
"""Members that hold the parts of a total in chat completions."""
_DETAILS: Final = {
    **DETAILS_OF_CHAT,
    # responses, images
    "input_tokens_details": _INPUT_PARTS,
    "output_tokens_details": _OUTPUT_PARTS,
    # realtime, transcriptions
    "input_token_details": _INPUT_PARTS,
    "output_token_details": _OUTPUT_PARTS,
    # Mistral (vercel/ai#14382)
    "prompt_token_details": _INPUT_PARTS,
    # realtime: what of the input was cached, by kind
    "cached_tokens_details": _CACHED_PARTS,
}
"""The same in all APIs."""
_INCLUDED: Final = {
    # Mistral (vercel/ai#14382)
    "num_cached_tokens": "cache_read_tokens",
    # Moonshot, Together, Hugging Face
    "cached_tokens": "cache_read_tokens",
    # DeepSeek (api-docs.deepseek.com, context caching); its `prompt_cache_miss_tokens` are the rest of the input
    "prompt_cache_hit_tokens": "cache_read_tokens",
    # Perplexity (sonar-deep-research), xAI's older answers
    "reasoning_tokens": "reasoning_tokens",
}
"""Parts that `usage` itself states, and that the total includes."""
_BESIDE: Final = {
    # Anthropic's messages (docs.anthropic.com, prompt caching): input = input_tokens + read + creation. LiteLLM states
    # them as well, beside `prompt_tokens`, which include them.
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}
"""Parts that `usage` itself states, and that the total does not include where it is Anthropic's `input_tokens`."""
_SERVER_TOOLS: Final = frozenset(
    {
        # OpenRouter (usage accounting)
        "server_tool_use_details",
        # OpenRouter's older answers, Anthropic
        "server_tool_use",
        # xAI
        "server_side_tool_usage_details",
    }
)
"""Members that count what tools of the provider's own did."""
_COST_MEMBERS: Final = frozenset({"cost", "cost_in_usd_ticks", "estimated_cost"})
_COST_PARTS: Final = {
    # OpenRouter's `cost_details`: chat completions, then responses
    "upstream_inference_prompt_cost": "input_cost",
    "upstream_inference_completions_cost": "output_cost",
    "upstream_inference_input_cost": "input_cost",
    "upstream_inference_output_cost": "output_cost",
    "upstream_inference_cost": "upstream_cost",
    # Perplexity's `cost`: chat completions, then responses; the rest of its total is a price for the request
    "input_tokens_cost": "input_cost",
    "output_tokens_cost": "output_cost",
    "input_cost": "input_cost",
    "output_cost": "output_cost",
    "total_cost": "cost",
}
_TICKS_PER_USD: Final = 10_000_000_000
"""docs.x.ai: `cost_in_usd_ticks`."""
# Above 2**53 a JSON number loses digits: such a count is a fault, not a count.
_MAX_COUNT: Final = 2**53
_MAX_NUMBER: Final = 1e100
_MAX_DETAIL_DEPTH: Final = 4
_MAX_SERVER_TOOLS: Final = 32
# This one and `_NAME` are compiled where a server is met that needs them.
_NUMBER: Final = r"\s*\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,2})?\s*"
_DETAILS_OF_RESPONSES: Final = ("input_tokens_details", "output_tokens_details")
_DECLARED: Final = frozenset({*_COUNTS, *DETAILS_OF_CHAT, *_DETAILS_OF_RESPONSES})
"""What the client declares of the usage of chat completions, responses and embeddings."""
_NAME: Final = r"[A-Za-z0-9_.-]{1,64}"

_Counts = dict[str, int | float]


def usage_in(members: Members) -> Any:
    """Return the usage of an answer or a chunk, wherever it is; None where there is none."""
    usage = members.get("usage")
    if usage is not None:
        return usage
    # Groq, in the last chunk, whether asked for or not (langfuse#3265).
    groq = members.get("x_groq")
    if groq is not None:
        usage = all_members_of(groq).get("usage")
        if usage is not None:
            return usage
    # Moonshot, in the last choice of a stream (earendil-works/pi#2017).
    choice = next(iter(items_of(members, "choices")), None)
    return None if choice is None else all_members_of(choice).get("usage")


def copy_counts(usage: Any) -> dict[str, Any] | None:
    """Return a copy of the counts of an answer, to be read later; None where there is more than OpenAI states."""
    kind: Any = type(usage)
    if usage.__pydantic_extra__ or not declares_only(kind, _DECLARED):
        return None
    counts: dict[str, Any] = usage.__dict__.copy()
    for name in DETAILS_OF_CHAT if "prompt_tokens" in counts else _DETAILS_OF_RESPONSES:
        details = counts.get(name)
        if details is not None:
            if details.__pydantic_extra__:
                return None
            counts[name] = details.__dict__.copy()
    return counts


def keep_usage(record: Generation, usage: object) -> None:
    """Put the usage of a chat completion into the record: to be read later, where it is no more than OpenAI states."""
    try:
        counts = copy_counts(usage)
    except AttributeError:
        counts = None
    if counts is None:
        record.usage = read_usage(usage)
    else:
        record.unread_usage = UnreadUsage(read_usage, counts)


def read_usage(usage: object, *, generates: bool = True) -> Usage:
    """Return the counts and costs that are stated; what is absent or no number stays None.

    Args:
        usage: an object of the client's, or the same as a mapping. Counts may be whole numbers, floats or digits; a
            fraction (OpenRouter weighs the tokens of image models) is rounded to the nearest whole number.
        generates: the operation has an output: what the total has over the input is that, even if it is not stated.
    """
    stated = all_members_of(usage)
    counts: _Counts = {}
    extras: dict[str, Any] = {}
    for key, value in stated.items():
        if value is None:
            continue
        name = _COUNTS.get(key)
        if name is None:
            parts = _DETAILS.get(key)
            if parts is None:
                extras[key] = value
            else:
                _add_parts(counts, value, parts)
        # The common case without a call: this runs on the host's thread.
        elif type(value) is int and 0 <= value < _MAX_COUNT and name not in counts:
            counts[name] = value
        else:
            _add_count(counts, name, value)
    beside = _add_extra_parts(counts, extras) if extras else 0
    _include_parts(counts, beside, generates=generates, is_anthropic="prompt_tokens" not in stated)
    usage_counts = Usage()
    for name, count in counts.items():
        # Half up: `round` takes 0.5 to the even number, and 2.5 tokens to 2.
        setattr(usage_counts, name, count if type(count) is int else math.floor(count + 0.5))
    if extras:
        _read_extras(usage_counts, extras)
    return usage_counts


def _add_count(counts: _Counts, name: str, value: object) -> None:
    number = value if type(value) is int and value >= 0 else _number(value)
    # A zero gives way to a number in another spelling, never the other way round.
    if number is not None and number < _MAX_COUNT and not counts.get(name):
        counts[name] = number


def _add_parts(counts: _Counts, details: object, names: Mapping[str, str], depth: int = 0) -> None:
    for key, value in all_members_of(details).items():
        if value is None:
            continue
        name = names.get(key)
        if name is None:
            # Parts of parts are all that the APIs have: a server may nest them without end.
            if key in _DETAILS and depth < _MAX_DETAIL_DEPTH:
                _add_parts(counts, value, _DETAILS[key], depth + 1)
        elif type(value) is int and 0 <= value < _MAX_COUNT and name not in counts:
            counts[name] = value
        else:
            _add_count(counts, name, value)


def _add_extra_parts(counts: _Counts, extras: Mapping[str, Any]) -> int | float:
    """Add parts that are stated where OpenAI states none; return how many tokens may be missing in the input."""
    beside: _Counts = {}
    for key, value in extras.items():
        if key in _INCLUDED:
            _add_count(counts, _INCLUDED[key], value)
        elif key in _BESIDE:
            _add_count(beside, _BESIDE[key], value)
    for name, count in beside.items():
        _add_count(counts, name, count)
    return sum(beside.values())


def _include_parts(counts: _Counts, beside: float, *, generates: bool, is_anthropic: bool) -> None:
    """Add to the input what was cached, and to the output what was reasoned, where a provider counts them beside.

    xAI (inspect_ai#5528), Gemini (langfuse#16321) and some gateways (CLIProxyAPI#5733) count reasoning beside
    `completion_tokens`; of Gemini only the total tells.
    """
    input_tokens, output, total = counts.get("input_tokens"), counts.get("output_tokens"), counts.get("total_tokens")
    if input_tokens is None:
        return
    if beside:
        # The numbers tell whether cached tokens are counted beside the input, else the spelling. A part is never larger than
        # what it is a part of.
        is_beside = beside > input_tokens or is_anthropic
        if beside <= input_tokens and total is not None:
            rest = total - input_tokens - (output or 0)
            # Within one token: OpenRouter's weighted counts are fractions.
            is_beside = abs(rest) >= 1 if is_anthropic else abs(rest - beside) < 1
        if is_beside:
            input_tokens = counts["input_tokens"] = input_tokens + beside
            if total is not None:
                total = counts["total_tokens"] = max(total, input_tokens + (output or 0))
    if total is not None:
        # What the total has over input and output is reasoning that was counted beside the output.
        if total > input_tokens + (output or 0) and (generates or output is not None):
            counts["output_tokens"] = total - input_tokens
    elif output is not None and counts.get("reasoning_tokens", 0) > output:
        # Without a total, a part larger than the whole tells the same.
        counts["output_tokens"] = output + counts["reasoning_tokens"]


def _read_extras(usage: Usage, extras: Members) -> None:
    """Read what is no count of tokens: the length of audio, the provider's own tools, the cost in USD as it is stated."""
    # Transcriptions are billed by the length of the audio.
    if extras.get("type") == "duration":
        usage.seconds = _number(extras.get("seconds"))
    for key in _SERVER_TOOLS.intersection(extras):
        for tool, stated in list(all_members_of(extras[key]).items())[:_MAX_SERVER_TOOLS]:
            count = _number(stated)
            # The name becomes a part of an attribute key: nothing but an identifier may get there.
            if count is not None and count < _MAX_COUNT and re.fullmatch(_NAME, tool):
                usage.server_tools = {**(usage.server_tools or {}), tool: math.floor(count + 0.5)}
    if _COST_MEMBERS.isdisjoint(extras):
        return
    cost = extras.get("cost")
    ticks = _number(extras.get("cost_in_usd_ticks"))
    usage.cost = _number(cost)
    if usage.cost is None:
        # `estimated_cost` (DeepInfra) is the provider's own sum.
        usage.cost = _number(extras.get("estimated_cost")) if ticks is None else ticks / _TICKS_PER_USD
    # Bring your own key: OpenRouter bills a fee, the provider bills `upstream_inference_cost`.
    usage.is_byok = extras.get("is_byok") is True
    # Perplexity's `cost` is an object.
    itemised = all_members_of(cost)
    if str(itemised.get("currency") or "USD").upper() != "USD":
        return
    for key, value in {**all_members_of(extras.get("cost_details")), **itemised}.items():
        amount = _number(value)
        if amount is not None and key in _COST_PARTS:
            setattr(usage, _COST_PARTS[key], amount)


def _number(value: Any) -> float | None:
    """Return a number that is stated as one, or in digits; None is no number, nor one below zero."""
    if type(value) is str:
        return float(value) if re.fullmatch(_NUMBER, value) else None
    if type(value) not in (int, float) or not 0 <= value < _MAX_NUMBER:
        return None
    return float(value)
