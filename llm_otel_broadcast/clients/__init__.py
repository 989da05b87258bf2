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
        modules: names of modules that have a library as `LIBRARY`. They are imported when somebody first asks for the
            libraries, so that importing the registry costs nothing.
    """

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._libraries: tuple[ClientLibrary, ...] | None = None

    def __iter__(self) -> Iterator[ClientLibrary]:
        return iter(self._all())

    def register(self, library: ClientLibrary) -> None:
        """Add a library. Its calls are recorded from the next `instrument()` on."""
        self._libraries = (*self._all(), library)

    def unregister(self, library: ClientLibrary) -> None:
        """Take a library out. What is patched of it stays until `uninstrument()`."""
        self._libraries = tuple(other for other in self._all() if other is not library)

    @property
    def other_tracers(self) -> tuple[str, ...]:
        """How the names of the tracers begin that others trace these libraries with."""
        return tuple(name for library in self._all() for name in library.other_tracers)

    def _all(self) -> tuple[ClientLibrary, ...]:
        # By name: an import here would be made by whoever imports any module of this package, and the library imports us.
        if self._libraries is None:
            self._libraries = tuple(import_module(name).LIBRARY for name in self._modules)
        return self._libraries


LIBRARIES: Final = Libraries("llm_otel_broadcast.clients.openai.library")
