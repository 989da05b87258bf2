"""What a usage costs, estimated by genai-prices. Imported and called in the background only; nothing is made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Final, Protocol, SupportsFloat

from llm_otel_broadcast.delivery.price_list import price_list
from llm_otel_broadcast.delivery.price_rates import Counts, Prices, Rates
from llm_otel_broadcast.delivery.self_hosted import is_self_hosted
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.usage import Cost, Usage, stated_cost

_PROVIDERS: Final = {
    "openai": "openai",
    "azure.ai.openai": "azure",
    "openrouter": "openrouter",
    "groq": "groq",
    "deepseek": "deepseek",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
    "perplexity": "perplexity",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "anthropic": "anthropic",
    "cohere": "cohere",
    "moonshot_ai": "moonshotai",
    "aws.bedrock": "aws",
}
"""Provider names of the GenAI conventions, as genai-prices spells them."""
_MAX_MODEL_NAME_CHARS: Final = 256
_COUNTS: Final = attrgetter("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_OTHER_COUNTS: Final = attrgetter(
    "input_audio_tokens",
    "output_audio_tokens",
    "input_image_tokens",
    "output_image_tokens",
    "cached_image_tokens",
    "cached_audio_tokens",
)
# A time that prices may begin or end at is a whole minute of UTC.
_PRICE_PERIOD_NS: Final = 60 * 10**9
# What costs the list price: `auto` is what was asked for where the answer names no tier.
_STANDARD_TIERS: Final = frozenset({None, "auto", "default", "standard"})


class _Price(Protocol):
    """What genai-prices calculates, as far as it is read here."""

    input_price: SupportsFloat
    output_price: SupportsFloat
    total_price: SupportsFloat
    model_price: object


def cost_of(record: Generation, *, estimated: bool) -> Cost | None:
    """Return what the response states, else an estimate if one is wanted and can be made."""
    stated = stated_cost(record.usage)
    return stated if stated is not None or not estimated else estimate(record)


def estimate(record: Generation) -> Cost | None:
    """Return what the record's usage costs by list price, None for an unknown model or without counts.

    The model that answered counts, else the one that was asked for; so does the service tier that answered. A host nobody
    knows is priced by well-known model names only, and never for names with a tag (`llama3:8b`), which run at home. What
    runs on a machine of the caller's own has no list price (`self_hosted`).
    """
    usage = record.usage
    if usage is None or (usage.input_tokens is None and not usage.seconds) or is_self_hosted(record):
        return None
    provider = _PROVIDERS.get(record.server.provider)
    tier = record.response_service_tier
    for name in (record.response_model, record.request_model):
        # A server that makes names up would fill the memory of names for good; none that is priced is so long.
        if not name or len(name) > _MAX_MODEL_NAME_CHARS or (provider is None and ":" in name):
            continue
        model = _look_up(name, provider)
        if model is not None:
            return list_price(usage, model, provider, record.start_ns, None if tier in _STANDARD_TIERS else tier)
    return None


@lru_cache(maxsize=1_024)
def _look_up(name: str, provider: str | None) -> str | None:
    """Return the name that a model is priced by, None where it has no price. Once: a miss searches every provider's list."""
    # Of Bedrock's models, the newer endpoint leaves out the version that the older one and the price list have.
    versions = ("", "-1:0", "-v1:0") if provider == "aws" and ":" not in name else ("",)
    usage = {"input_tokens": 1, "output_tokens": 1}
    models = (f"{name}{version}" for version in versions)
    return next((model for model in models if _ask(usage, model, provider, {}) is not None), None)


def list_price(usage: Usage, model: str, provider: str | None, start_ns: int, tier: str | None) -> Cost | None:
    """Return what a usage costs at the rates for its model where they say so, else what genai-prices makes of it."""
    inputs, outputs, reads, writes = _COUNTS(usage)
    counts = Counts(inputs or 0, outputs or 0, reads or 0, writes or 0)
    # Tokens of other kinds overlap with those that are cached; and a program that reports a call may count in fractions.
    if inputs is not None and not any(_OTHER_COUNTS(usage)) and {*map(type, counts)} == {int}:
        rates = _rates(model, provider, tier, start_ns // _PRICE_PERIOD_NS)
        price = None if rates is None else rates.price(counts)
        if price is not None:
            return Cost(*price)
    return _calculate(usage, model, provider, start_ns, tier)


@lru_cache(maxsize=256)
def _rates(model: str, provider: str | None, tier: str | None, period: int) -> Rates | None:
    """Return what a model costs in a period; None where that is not linear.

    Looked up anew for each period: most prices never change, but some do at an hour of the day, and the program may have
    genai-prices load newer ones.
    """
    context = _context(period * _PRICE_PERIOD_NS, tier)

    def calculate(counts: Counts) -> _Price | None:
        usage = {
            "input_tokens": counts.input,
            "output_tokens": counts.output,
            "cache_read_tokens": counts.cache_read,
            "cache_write_tokens": counts.cache_write,
        }
        return _ask(usage, model, provider, context)

    def ask(counts: Counts) -> Prices | None:
        price = calculate(counts)
        return None if price is None else Prices(price.input_price, price.output_price, price.total_price)

    nothing = calculate(Counts())
    listed = vars(nothing.model_price).values() if nothing is not None else ()
    return Rates.of(ask, [tier.start for price in listed for tier in getattr(price, "tiers", ())])


def _context(start_ns: int, tier: str | None) -> dict[str, object]:
    """Return what besides the usage decides a price."""
    context: dict[str, object] = {"genai_request_timestamp": datetime.fromtimestamp(start_ns / 1e9, UTC)}
    if tier is not None:
        context["price_context"] = {"service_tier": tier}
    return context


def _calculate(usage: Usage, model: str, provider: str | None, start_ns: int, tier: str | None) -> Cost | None:
    prices = price_list()
    if prices is None:
        return None
    context = _context(start_ns, tier)
    empty = prices.Usage()
    if usage.input_tokens is None:
        # The installed release may know nothing of audio by length.
        if not hasattr(empty, "audio_seconds"):
            return None
        price = _ask({"audio_seconds": usage.seconds}, model, provider, context)
        # Nothing, for a model that is not billed by the length of the audio: unknown, not free.
        return Cost(None, None, float(price.total_price)) if price is not None and price.total_price else None
    # Counts that older releases of genai-prices do not take.
    newer = {
        "input_image_tokens": usage.input_image_tokens,
        "output_image_tokens": usage.output_image_tokens,
        "cache_image_read_tokens": usage.cached_image_tokens,
        "cache_audio_read_tokens": usage.cached_audio_tokens,
    }
    counted = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens or 0,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "input_audio_tokens": usage.input_audio_tokens,
        "output_audio_tokens": usage.output_audio_tokens,
        **{name: count for name, count in newer.items() if count is not None and hasattr(empty, name)},
    }
    price = _ask(counted, model, provider, context)
    if price is None:
        return None
    return Cost(float(price.input_price), float(price.output_price), float(price.total_price))


def _ask(
    counted: Mapping[str, float | None], model: str, provider: str | None, context: Mapping[str, object]
) -> _Price | None:
    prices = price_list()
    if prices is None:
        return None
    calculate: Callable[..., _Price] = prices.calc_price
    try:
        return calculate(prices.Usage(**counted), model_ref=model, provider_id=provider, **context)
    except LookupError:
        return None
    # Counts that contradict each other, or a release that knows no service tiers.
    except (TypeError, ValueError):
        return None
