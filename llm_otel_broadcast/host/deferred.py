"""Work that the host's thread puts off: done once, by whoever comes first. Imports nothing of ours but `green_threads`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.green_threads import Exclusion

# One for all: several lanes may meet the same record, and doing its work twice would fold an answer twice. The work takes
# milliseconds, on threads that have nothing else to do.
_doing: Final = Exclusion()
begin_anew_in_child(_doing.begin_anew)


class Deferred:
    """Work that is still to be done.

    Args:
        function: does it.
        arguments: what it is called with.
    """

    __slots__ = ("_arguments", "_function")

    def __init__(self, function: Callable[..., None], *arguments: object) -> None:
        self._function: Callable[..., None] | None = function
        self._arguments = arguments

    def run(self) -> None:
        """Do the work, unless that has been done; wait for whoever is at it. Called in the background only.

        Raises:
            Exception: whatever the work raises; it is not tried again.
        """
        with _doing.only_here():
            function, arguments = self._function, self._arguments
            self._function, self._arguments = None, ()
            if function is not None:
                function(*arguments)

    def run_instead(self, function: Callable[[], None]) -> bool:
        """Do the work in another way, on the host's thread, which waits for nobody.

        Returns:
            False: somebody else has done it or is at it.

        Raises:
            Exception: whatever `function` raises; the work is then still to be done.
        """
        if self._function is None:
            return False
        with _doing.if_free() as is_free:
            if not is_free or self._function is None:
                return False
            function()
            self._function, self._arguments = None, ()
            return True
