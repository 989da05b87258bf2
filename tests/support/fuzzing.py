"""How much is tried: quickly and with the same examples each time in the suite, thousands of others in the nox session `fuzz`."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
fuzzed = settings(
    max_examples=EXAMPLES or 25,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=12) | st.text(st.characters(codec="ascii"), max_size=40)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS


def json_values(keys: tuple[str, ...], scalars: Any = SCALARS) -> Any:
    """Return values of JSON's types whose objects have these keys, mostly."""
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(keys) | st.text(max_size=8), inner, max_size=5)
        ),
        max_leaves=16,
    )
