"""Stands first on the PYTHONPATH of what `llm-otel-broadcast run` starts: traces the program once it imports a client library.

Every interpreter below that program imports this file as it starts, old ones and ones without our package included. So it
is plain Python 3, imports nothing and does next to nothing before a client library comes. It then has the program's own
`sitecustomize` run, and raises nothing but what that raises.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


# The registry cannot be asked before the package may be imported: `tests/clients/test_library.py` holds the two together.
PACKAGES = ("openai",)
SUBMODULES = tuple(package + "." for package in PACKAGES)


class BroadcastFinder:
    """Stands first among the import system's finders: sees a library come, and finds the `sitecustomize` after ours."""

    def __init__(self, directory: str) -> None:
        self.passed = [directory]
        self.has_begun = False

    def find_spec(
        self,
        name: str,
        path: "Sequence[str] | None" = None,  # noqa: ARG002  # the import system's signature
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        # A module of the package: the package itself may only be looked for, to know whether it is there.
        if not self.has_begun and name.startswith(SUBMODULES):
            self.begin()
        if name == "sitecustomize":
            return self.find_next(name, target)
        return None

    def begin(self) -> None:
        self.has_begun = True
        try:
            from llm_otel_broadcast.zero_code.start import start

            start()
        except Exception as error:
            say(describe(error))

    def find_next(self, name: str, target: "ModuleType | None") -> "ModuleSpec":
        """Find what Python would have found without the directories whose `sitecustomize` has run."""
        path = [entry for entry in sys.path if os.path.abspath(entry) not in self.passed]
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                self.passed.append(os.path.dirname(os.path.abspath(spec.origin or "")))
                return spec
        # An error, not None: the finders after us would find our own file once more.
        raise ImportError("No module named " + repr(name), name=name)


def say(problem: str) -> None:
    try:
        sys.stderr.write("llm-otel-broadcast: " + problem.replace("\n", "; ") + "; the program runs untraced\n")
    # There may be no stderr, or a closed one.
    except Exception:
        return


def describe(error: Exception) -> str:
    if isinstance(error, ImportError) and error.name == "llm_otel_broadcast":
        return "it is not installed for " + sys.executable
    return type(error).__name__ + ": " + str(error)


def run_next() -> None:
    """Run the program's own `sitecustomize`, which takes our place among the modules; what it raises is its own."""
    ours = sys.modules.pop("sitecustomize", None)
    try:
        __import__("sitecustomize")
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        # The import system looks the module up under this name once it has run us.
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)


def install() -> None:
    """Put the finder first, once: a `sitecustomize` that itself runs the next one may bring us here again."""
    if any(type(finder).__name__ == BroadcastFinder.__name__ for finder in sys.meta_path):
        return
    finder = BroadcastFinder(os.path.dirname(os.path.abspath(__file__)))
    sys.meta_path.insert(0, finder)
    # a .pth file was quicker
    if any(package in sys.modules for package in PACKAGES):
        finder.begin()


install()
run_next()
