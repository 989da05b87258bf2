"""Which background responses of this process have yet to be seen finished.

`responses.create(background=True)` returns before the model has answered, so its span has no tokens, and fetching a response
(`fetch_response` in the GenAI conventions) reports none either: the tokens are those of another call. Left at that, they
would be nowhere. So the first fetch that finds a response of this process finished carries its usage, and its failure if it
failed; every later fetch of it, and every fetch of a response that another process made, carries neither.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from contextlib import suppress
from typing import Final

_MAX_AWAITED_RESPONSES: Final = 10_000


class Background:
    """The ids of responses whose end has not been seen; the oldest go first."""

    # No lock: each step on the dict is atomic, and the host's thread waits for nobody.

    def __init__(self, limit: int = _MAX_AWAITED_RESPONSES) -> None:
        self._limit = limit
        self._awaited_ids: OrderedDict[str, None] = OrderedDict()
        # The parent awaits them; the child would report their tokens a second time.
        os.register_at_fork(after_in_child=self._awaited_ids.clear)

    def await_end(self, response_id: str) -> None:
        """Note a response that is still being made."""
        self._awaited_ids[response_id] = None
        if len(self._awaited_ids) > self._limit:
            # Another thread may have taken the last one meanwhile.
            with suppress(KeyError):
                self._awaited_ids.popitem(last=False)

    def end(self, response_id: str) -> bool:
        """Remove a response that is finished; return whether it was awaited, which is True for the first caller only."""
        return self._awaited_ids.pop(response_id, self) is None
