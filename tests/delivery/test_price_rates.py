"""What a usage costs by a model's rates is to the last bit what genai-prices makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import genai_prices
import pytest
from genai_prices.data import providers

from llm_otel_broadcast.delivery.price_rates import Counts, Prices, Rates
from llm_otel_broadcast.delivery.pricing import list_price
from llm_otel_broadcast.record.usage import Usage

NOW = datetime(2026, 11, 28, 12, 30, 15, tzinfo=UTC)
MODELS = [(provider, model) for provider in providers for model in provider.models]


def by_genai_prices(usage, model, provider, when, tier=None):
    context = {} if tier is None else {"price_context": {"service_tier": tier}}
    try:
        price = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                cache_write_tokens=usage.cache_write_tokens,
            ),
            model_ref=model,
            provider_id=provider,
            genai_request_timestamp=when,
            **context,
        )
    except (LookupError, ValueError, TypeError):
        # Unknown, contradictory or negative counts, or a release without service tiers.
        return None
    return float(price.input_price), float(price.output_price), float(price.total_price)


def by_us(usage, model, provider, when, tier=None):
    cost = list_price(usage, model, provider, int(when.timestamp()) * 10**9, tier)
    return cost if cost is None else (cost.input, cost.output, cost.total)


def tier_starts(model):
    conditions = model.prices if isinstance(model.prices, list) else [model]
    prices = [price for condition in conditions for price in vars(condition.prices).values()]
    return [tier.start for price in prices for tier in getattr(price, "tiers", ())]


def some_usages(random, model):
    size = random.randrange(1, 30_000)
    yield Usage(size, random.randrange(5_000), None, size // 3, size // 5)
    for start in tier_starts(model)[:1]:
        yield Usage(start, 7, None, 3)
        yield Usage(start + 1, 7, None, 3)


def test_every_price_there_is_comes_out_the_same():
    """Also where a tier begins, and at the service tiers that have prices of their own."""
    random, compared = Random(13), 0
    for provider, model in MODELS:
        variants = getattr(model, "price_variants", None) or ()
        for tier in {None, *(variant.when.get("service_tier") for variant in variants)}:
            for usage in some_usages(random, model):
                expected = by_genai_prices(usage, model.id, provider.id, NOW, tier)
                assert by_us(usage, model.id, provider.id, NOW, tier) == expected, (provider.id, model.id, usage, tier)
                compared += expected is not None
    assert compared > 500


def test_a_price_that_changes_is_the_one_of_its_time():
    """New prices from a day on, and other ones at hours of the day."""
    changes = 0
    for provider, model in MODELS:
        for condition in model.prices if isinstance(model.prices, list) else ():
            constraint = condition.constraint
            day = getattr(constraint, "start_date", NOW.date())
            times = [getattr(constraint, name, None) for name in ("start_time", "end_time")]
            for time in times if any(times) else [datetime.min.time()]:
                begins = datetime.combine(day, time).replace(tzinfo=UTC)
                for when in (begins - timedelta(seconds=1), begins, begins + timedelta(seconds=1)):
                    usage = Usage(1_000, 1_000)
                    assert by_us(usage, model.id, provider.id, when) == by_genai_prices(
                        usage, model.id, provider.id, when
                    )
                changes += 1
    assert changes


@pytest.mark.parametrize(
    "usage",
    [
        Usage(0, 0),
        Usage(10),
        Usage(10, 5, None, 10),
        Usage(10, 5, None, 11),
        Usage(10, 5, None, 0, 11),
        Usage(-1, 5),
        Usage(10, -5),
        Usage(10**15, 10**15),
        Usage(10, 2.5),
        Usage(10, True),
    ],
    ids=lambda usage: "-".join(map(str, (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens))),
)
def test_odd_counts_are_judged_by_genai_prices(usage):
    plain = Usage(usage.input_tokens, usage.output_tokens or 0, None, usage.cache_read_tokens, usage.cache_write_tokens)
    assert by_us(usage, "gpt-4o", "openai", NOW) == by_genai_prices(plain, "gpt-4o", "openai", NOW)


def linear(counts):
    of_input = Decimal("0.0000025") * counts.input - Decimal("0.00000125") * counts.cache_read
    of_output = Decimal("0.00001") * counts.output
    return Prices(of_input, of_output, of_input + of_output + Decimal("0.005"))


def test_rates_are_exact_and_have_what_each_call_costs():
    rates = Rates.of(linear, [])
    assert rates.price(Counts(3, 2, 1)) == (0.00000625, 0.00002, 0.00502625)


def test_above_a_tier_and_for_impossible_counts_rates_say_nothing():
    rates = Rates.of(linear, [200_000, 128_000])
    assert rates.price(Counts(128_000)) is not None
    assert rates.price(Counts(128_001)) is None
    assert rates.price(Counts(1, 128_001)) is None
    assert rates.price(Counts(1, 1, 1, 1)) is None
    assert rates.price(Counts(1, 1, -1)) is None


@pytest.mark.parametrize(
    "ask",
    [
        lambda counts: None,
        lambda counts: linear(counts)._replace(total=Decimal(counts.input) ** 2),
        lambda counts: linear(counts)._replace(input=Decimal(1)),
    ],
    ids=["unknown", "not linear", "parts that do not make the whole"],
)
def test_prices_of_another_kind_have_no_rates(ask):
    assert Rates.of(ask, []) is None


def test_a_tier_that_begins_at_once_leaves_no_room_for_rates():
    assert Rates.of(linear, [0]) is None
