"""Fuzz the properties of this folder with coverage as a guide: `python -m tests.fuzz SECONDS [NAME ...]`.

Every test with `@given` and no fixture in a `test_*.py` of this folder is one: a new file needs no word here. Each has a process
of its own, because libFuzzer ends the one that it runs in.
"""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

_SEEDS = 32
_SEED_BYTES = 2_048
MODULES = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))


def properties() -> dict[str, Callable[[bytes], object]]:
    """Return what takes bytes for each property, by its name."""
    found = {}
    for module in MODULES:
        for name, test in vars(importlib.import_module(f"tests.fuzz.{module}")).items():
            if name.startswith("test_") and hasattr(test, "hypothesis"):
                found[f"{module}.{name}"] = test.hypothesis.fuzz_one_input
    return found


def fuzz(name: str, seconds: str) -> None:
    """Fuzz one property; never returns."""
    import atheris

    with atheris.instrument_imports(include=["llm_otel_broadcast"]):
        take_bytes = properties()[name]
    with TemporaryDirectory() as corpus:
        # an example takes hundreds of bytes: from nothing, libFuzzer would try shorter ones for long
        for number in range(_SEEDS):
            Path(corpus, str(number)).write_bytes(random.Random(number).randbytes(_SEED_BYTES))
        options = (f"-max_total_time={seconds}", f"-max_len={2 * _SEED_BYTES}", "-len_control=0", "-verbosity=0")
        atheris.Setup([sys.argv[0], *options, corpus], take_bytes)
        atheris.Fuzz()


def main() -> int:
    """Fuzz each property in turn; return how many failed."""
    try:
        import atheris  # noqa: F401
    except ImportError:
        print(
            f"atheris is not installed (it has no build for Python {sys.version.split()[0]}?): nothing is fuzzed with it"
        )
        return 0
    seconds, *wanted = sys.argv[1:] or ["60"]
    failed = []
    for name in wanted or properties():
        print(f"{name}: {seconds} s", flush=True)
        code = f"from tests.fuzz.__main__ import fuzz; fuzz({name!r}, {seconds!r})"
        if subprocess.run([sys.executable, "-c", code], check=False).returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed) or 'none'}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
