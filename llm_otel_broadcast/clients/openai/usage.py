"""Reading `usage`: the token counts of OpenAI's APIs, under both sets of names, and OpenRouter's cost (spec, section 10.1)."""

from __future__ import annotations

from typing import Any, Final

from llm_otel_broadcast.clients.reading import Members, all_members_of, extras_of, members_of
from llm_otel_broadcast.usage import Usage

_COUNTS: Final = {
    "prompt_tokens": "input_tokens",
    "input_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "output_tokens": "output_tokens",
    "total_tokens": "total_tokens",
}
_ASKED: Final = {
    "cached_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "text_tokens": "input_text_tokens",
    "image_tokens": "input_image_tokens",
    "audio_tokens": "input_audio_tokens",
}
_CACHED: Final = {
    "text_tokens": "cached_text_tokens",
    "image_tokens": "cached_image_tokens",
    "audio_tokens": "cached_audio_tokens",
}
_ANSWERED: Final = {
    "reasoning_tokens": "reasoning_tokens",
    "text_tokens": "output_text_tokens",
    "image_tokens": "output_image_tokens",
    "audio_tokens": "output_audio_tokens",
}
_COSTS: Final = {
    "upstream_inference_prompt_cost": "input_cost",
    "upstream_inference_input_cost": "input_cost",
    "upstream_inference_completions_cost": "output_cost",
    "upstream_inference_output_cost": "output_cost",
    "upstream_inference_cost": "upstream_cost",
}
_DETAILS: Final = {
    "prompt_tokens_details": _ASKED,
    "input_tokens_details": _ASKED,
    "input_token_details": _ASKED,
    "completion_tokens_details": _ANSWERED,
    "output_tokens_details": _ANSWERED,
    "output_token_details": _ANSWERED,
    "cached_tokens_details": _CACHED,
}


def read_usage(usage: Any) -> Usage:
    """Return the counts and costs that are stated; what is absent or no number stays None."""
    read = Usage()
    stated = members_of(usage)
    extra = extras_of(usage)
    if extra and extra is not stated:
        stated = {**stated, **extra}
    for key, value in stated.items():
        if value is None:
            continue
        name = _COUNTS.get(key)
        if name is not None:
            if type(value) is int and value >= 0:
                setattr(read, name, value)
        elif key in _DETAILS:
            _read_details(read, value, _DETAILS[key])
    if "cost" in stated:
        _read_cost(read, stated)
    if stated.get("type") == "duration":  # transcriptions are billed by the length of the audio
        read.seconds = _amount(stated.get("seconds"))
    return read


def _read_details(read: Usage, details: Any, names: dict[str, str]) -> None:
    for key, value in all_members_of(details).items():
        name = names.get(key)
        if name is not None:
            if type(value) is int and value >= 0:
                setattr(read, name, value)
        elif value is not None and key in _DETAILS:
            _read_details(read, value, _DETAILS[key])


def _read_cost(read: Usage, stated: Members) -> None:
    read.cost = _amount(stated.get("cost"))
    read.is_byok = stated.get("is_byok") is True
    details = all_members_of(stated.get("cost_details"))
    for key, name in _COSTS.items():
        amount = _amount(details.get(key))
        if amount is not None:
            setattr(read, name, amount)


def _amount(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None
