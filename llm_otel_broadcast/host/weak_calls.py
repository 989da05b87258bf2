"""Functions that the interpreter keeps until its very end, without what they refer to. Imports nothing of ours.

Whatever keeps a function keeps the globals of its module, and what these refer to: by way of the patched classes all of the client
library. The interpreter clears its list of fork hooks last of all; until then it would go through all those objects once more,
which takes 25 million instructions, 5 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import ref


def weakly(function: Callable[[], object]) -> Callable[[], None]:
    """Return a function that calls another one, which its own module keeps, for as long as that is there."""
    reference = ref(function)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    return call
