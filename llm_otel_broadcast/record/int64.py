"""The integers that an attribute may have. Imports nothing of ours.

No `range`: looking in it for an integer of a class of its own, as an `IntEnum` has, goes through all of its numbers.
"""

from __future__ import annotations

from typing import Final

MIN_INT64: Final = -(2**63)
MAX_INT64: Final = 2**63 - 1
