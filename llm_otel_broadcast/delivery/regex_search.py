"""Searching for the regular expressions of rules in bounded time, whatever expression meets whatever text.

The package `regex` has Python's syntax, a timeout, and lets other threads run meanwhile; Python's own `re` has neither. Where
`google-re2` is installed, expressions that mean the same to it are left to it: it takes time in proportion to the text. Both
are imported only where there is such a rule.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

# A sensible expression takes some milliseconds for a million characters; one that backtracks never ends.
SEARCH_TIMEOUT_S: Final = 0.25
_GENERATION_TIMEOUT_S: Final = 1.0
_MAX_EXPRESSIONS: Final = 1_024
# What RE2 reads as Python does: no `\d` or `\w` (ASCII alone to RE2), no flags, lookarounds, groups with names, possessive
# quantifiers or POSIX classes, and no brace that only one of them takes for a quantifier.
_ONLY_PUNCTUATION_ESCAPED: Final = re.compile(r"(?:[^\\$]|\\[^\w\s])*")
_READ_DIFFERENTLY: Final = re.compile(r"\(\?(?!:)|[*+?}]\+|\[\^?\[|\[:|\{(?!\d{1,3}(?:,\d{0,3})?\})")

_Search: TypeAlias = Callable[[str, float], bool]
"""Takes a text, and the seconds that searching it may take; raises TimeoutError."""


class Searches:
    """The searches for one generation: each has a bounded time, and all together have one."""

    def __init__(self) -> None:
        self._left_s = _GENERATION_TIMEOUT_S

    def finds(self, expression: str, text: str) -> bool:
        """Return whether an expression is found in a text.

        Raises:
            TimeoutError: that took too long.
        """
        if self._left_s <= 0:
            raise TimeoutError("the searches before took all the time")
        began = time.monotonic()
        try:
            return _search_for(expression)(text, min(SEARCH_TIMEOUT_S, self._left_s))
        finally:
            self._left_s -= time.monotonic() - began


def prepare(expression: str) -> None:
    """Compile an expression that will be searched for, and import what that takes."""
    _search_for(expression)


@functools.lru_cache(maxsize=_MAX_EXPRESSIONS)
def _search_for(expression: str) -> _Search:
    import regex

    pattern = regex.compile(expression)
    linear = _linear_search(expression)

    def search(text: str, timeout: float) -> bool:
        if linear is not None:
            # Half a surrogate pair cannot be written as UTF-8, which RE2 reads.
            with suppress(UnicodeEncodeError):
                return linear(text)
        return pattern.search(text, timeout=timeout, concurrent=True) is not None

    return search


def _linear_search(expression: str) -> Callable[[str], bool] | None:
    """Return a search by RE2, None where it is not installed or does not read the expression as Python does."""
    # `$` also stands before a final line break; nothing comes after it here, so that it may take that break.
    body = expression.removesuffix("$")
    end = r"\n?\z" if body != expression else ""
    if _ONLY_PUNCTUATION_ESCAPED.fullmatch(body) is None or _READ_DIFFERENTLY.search(body) is not None:
        return None
    try:
        import re2
    except ImportError:
        return None
    options = re2.Options()
    # It would write to the console.
    options.log_errors = False
    try:
        pattern = re2.compile(body + end, options)
    except (re2.error, UnicodeEncodeError):
        return None
    return lambda text: pattern.search(text) is not None
