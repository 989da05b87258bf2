"""The price of one model at one time as whole numbers, so that a usage is priced by a few multiplications. Pure.

genai-prices takes up to a tenth of a millisecond for each price, and prices are linear as long as no tier begins: so it is asked once
for each kind of tokens. What it makes of images, of audio and of the tiers is for itself to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple, Self, SupportsFloat

# More than any call has; beyond, genai-prices rounds its decimals.
_MAX_TOKENS: Final = 1_000_000_000_000


class Counts(NamedTuple):
    """What is priced; those read from a cache and written to it are of the input."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


class Prices(NamedTuple):
    """In USD."""

    input: SupportsFloat
    output: SupportsFloat
    total: SupportsFloat


_CHECKED: Final = Counts(1_000, 500, 300, 200)


@dataclass(frozen=True, slots=True)
class Rates:
    """What a call and a token cost, in parts of a dollar.

    Attributes:
        parts: how many of them a dollar has.
        max_tokens: the input, and the output, for which this holds.
        cache_read: what is added to the input's rate; it may be negative.
        cache_write: likewise.
    """

    parts: int
    max_tokens: int
    call: int
    input: int
    output: int
    cache_read: int
    cache_write: int

    @classmethod
    def of(cls, ask: Callable[[Counts], Prices | None], tier_starts: Iterable[int]) -> Self | None:
        """Return a model's rates, None where its prices are not linear.

        Args:
            ask: calculates prices in decimals.
            tier_starts: the numbers of tokens above which other prices hold.
        """
        max_tokens = min(tier_starts, default=_MAX_TOKENS)
        probes = (Counts(), Counts(1), Counts(0, 1), Counts(1, 0, 1), Counts(1, 0, 0, 1))
        if max_tokens < _CHECKED.input:
            return None
        totals = [Decimal(str(prices.total)) for counts in probes if (prices := ask(counts)) is not None]
        if len(totals) < len(probes):
            return None
        parts = 10 ** max(0, *(-int(total.as_tuple().exponent) for total in totals))
        call, one_input, one_output, one_read, one_written = (int(total * parts) for total in totals)
        rates = cls(
            parts, max_tokens, call, one_input - call, one_output - call, one_read - one_input, one_written - one_input
        )
        # Also what a release does that nobody knows here: what the rates make of other counts must be its own result.
        expected = ask(_CHECKED)
        is_linear = expected is not None and rates.price(_CHECKED) == tuple(map(float, expected))
        return rates if is_linear else None

    def price(self, counts: Counts) -> tuple[float, float, float] | None:
        """Return the price of the input, of the output and of the call, None where these rates do not say it."""
        inputs, outputs, reads, writes = counts
        if not (reads >= 0 <= writes and reads + writes <= inputs <= self.max_tokens >= outputs >= 0):
            return None
        of_input = inputs * self.input + reads * self.cache_read + writes * self.cache_write
        of_output = outputs * self.output
        parts = self.parts
        # A division of whole numbers is rounded once, as a decimal is that becomes a float: both are the same to the last bit.
        return of_input / parts, of_output / parts, (of_input + of_output + self.call) / parts
