"""The client libraries that are watched: one folder each, and one line in `LIBRARIES`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from llm_otel_broadcast.clients.library import ClientLibrary


class Libraries:
    """The registry of client libraries.

    Args:
        modules: names of modules that have a library as `LIBRARY`.
    """

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._libraries: tuple[ClientLibrary, ...] | None = None
        self._other_tracers: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[ClientLibrary]:
        return iter(self._load())

    def register(self, library: ClientLibrary) -> None:
        """Add a library. Its calls are recorded from the next `instrument()` on."""
        self._set((*self._load(), library))

    def unregister(self, library: ClientLibrary) -> None:
        """Take a library out. What is patched of it stays until `uninstrument()`."""
        self._set(tuple(other for other in self._load() if other is not library))

    @property
    def other_tracers(self) -> tuple[str, ...]:
        """How the names of the tracers begin that others trace these libraries with."""
        self._load()
        return self._other_tracers

    def _load(self) -> tuple[ClientLibrary, ...]:
        # By name, and when somebody first asks: whoever imports any module of this package imports this file, and the
        # libraries' own modules do.
        if self._libraries is None:
            return self._set(tuple(import_module(name).LIBRARY for name in self._modules))
        return self._libraries

    def _set(self, libraries: tuple[ClientLibrary, ...]) -> tuple[ClientLibrary, ...]:
        # put together here, because it is asked for at the start of each span that another tracer makes
        self._other_tracers = tuple(name for library in libraries for name in library.other_tracers)
        self._libraries = libraries
        return libraries


LIBRARIES: Final = Libraries("llm_otel_broadcast.clients.openai.library")
