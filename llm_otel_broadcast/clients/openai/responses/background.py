"""Which background responses of this process have yet to be seen finished.

`responses.create(background=True)` returns before the model has answered, so its span has no tokens, and fetching a response
(`fetch_response` in the GenAI conventions) reports none either: the tokens are those of another call. Left at that, they
would be nowhere. So the first fetch that finds a response of this process finished carries its usage, and its failure if it
failed; every later fetch of it, and every fetch of a response that another process made, carries neither.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import Final

from llm_otel_broadcast.host.process import begin_anew_in_child

_MAX_AWAITED: Final = 10_000


class Background:
    """The ids of responses whose end has not been seen; the oldest go first. No lock: each step on the dict is atomic."""

    def __init__(self, limit: int = _MAX_AWAITED) -> None:
        self._limit = limit
        self._awaited: OrderedDict[str, None] = OrderedDict()
        # the parent awaits them; the child would report them again
        begin_anew_in_child(self._awaited.clear)

    def await_end(self, response_id: str) -> None:
        """Note a response that is still being made."""
        self._awaited[response_id] = None
        if len(self._awaited) > self._limit:
            with suppress(KeyError):  # another thread took the last one
                self._awaited.popitem(last=False)

    def end(self, response_id: str) -> bool:
        """Take a response that is finished off the list; True for the one who does so first."""
        return self._awaited.pop(response_id, self) is None
