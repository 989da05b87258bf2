"""Which background responses of this process have yet to be seen finished.

`responses.create(background=True)` returns before the model has answered, so its span has no tokens, and fetching a response
(`fetch_response` in the GenAI conventions) reports none either: the tokens are those of another call. Left at that, they
would be nowhere. So the first fetch that finds a response of this process finished carries its usage, and its failure if it
failed; every later fetch of it, and every fetch of a response that another process made, carries neither.
"""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.host.bounded import BoundedDict
from llm_otel_broadcast.host.forks import begin_anew_in_child

_MAX_AWAITED_RESPONSES: Final = 10_000


class Background:
    """The ids of responses whose end has not been seen; the oldest go first."""

    def __init__(self, limit: int = _MAX_AWAITED_RESPONSES) -> None:
        self._awaited_ids: BoundedDict[str, bool] = BoundedDict(limit)
        # The parent awaits them; the child would report their tokens a second time.
        begin_anew_in_child(self._awaited_ids.clear)

    def await_end(self, response_id: str) -> None:
        """Note a response that is still being made."""
        self._awaited_ids[response_id] = True

    def end(self, response_id: str) -> bool:
        """Remove a response that is finished; return whether it was awaited, which is True for the first caller only."""
        return self._awaited_ids.pop(response_id) is not None
