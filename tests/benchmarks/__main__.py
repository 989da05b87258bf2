"""`python -m tests.benchmarks [--write] [MEASURE...]`: measure and print the page; `--write` puts it into docs/. Needs valgrind.

`--rival NAME PYTHON VERSION` counts what a rival adds, with the interpreter of its environment.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks import processes
from tests.benchmarks.counting import can_count, count, count_added, count_background
from tests.benchmarks.host import CHUNKS
from tests.benchmarks.measures import MEASURES
from tests.benchmarks.page import page_of, plot_of

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).with_name("results.json")
_WORKS = {
    "chat": 30,
    "chat_fields": 20,
    "chat_tools": 10,
    "chat_medium": 20,
    "responses": 20,
    "embeddings": 20,
    "stream": 10,
}
_MODES = ("span", "ours", "content")
_LONG, _LONG_CALLS, _LONG_TIMEOUT_S = "chat_long", 4, 400
_SETTINGS = ("three", "ten", "context", "span_context", "uninstrumented", "suppressed", "suppressed_plain", "filtered")


def counted() -> dict[str, float]:
    """Return the instructions of plain calls, and of each mode with what it adds to them."""
    works = {**_WORKS, _LONG: _LONG_CALLS}
    counts = count({("plain", work): calls for work, calls in works.items()})
    # Last in its process: the client's own work on 200 KB differs from one to another, and by its age, by more than we add.
    modes = ("span", "ours", "content", "uninstrumented")
    long = count({(mode, _LONG): _LONG_CALLS for mode in modes}, timeout_s=_LONG_TIMEOUT_S)
    added = {
        **count_added(_MODES, _WORKS),
        **count_added(_SETTINGS, {"chat": 30}),
        **{(mode, _LONG): long[mode, _LONG] - long["uninstrumented", _LONG] for mode in _MODES},
    }
    counts |= {(mode, work): counts["plain", work] + instructions for (mode, work), instructions in added.items()}
    return {f"{mode}:{work}": instructions for (mode, work), instructions in counts.items()}


def measured(name: str) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "tests.benchmarks.measures", name]
    samples: dict[str, list[float]] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return samples


def surroundings() -> dict[str, Any]:
    packages = ("openai", "opentelemetry-sdk", "wrapt")
    return {
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
    }


def rival(name: str, python: str, its_version: str) -> dict[str, float | str]:
    calls = {("plain", "chat"): 20, ("plain", "stream"): 10, (name, "chat"): 20, (name, "stream"): 10}
    counts = count(calls, python)
    chat = counts[name, "chat"] - counts["plain", "chat"]
    stream = counts[name, "stream"] - counts["plain", "stream"]
    return {"version": its_version, "chat": chat, "chunk": (stream - chat) / CHUNKS}


ALL: dict[str, Callable[[], Any]] = {
    "counts": counted,
    "background_counts": count_background,
    "import_counts": processes.import_instructions,
    "imports": processes.imports,
    "runs": processes.runs,
    "ends": processes.ends,
    **{name: lambda name=name: measured(name) for name in MEASURES},
}


def main(arguments: list[str]) -> None:
    if not can_count():
        sys.exit("the benchmarks count instructions with valgrind: install it (apt-get install valgrind)")
    results: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
    is_written = "--write" in arguments
    words = [word for word in arguments if word != "--write"]
    if words[:1] == ["--rival"]:
        name, python, its_version = words[1:]
        results.setdefault("rivals", {})[name] = rival(name, python, its_version)
        print(name, results["rivals"][name])
    else:
        results |= surroundings()
        for name in words or ALL:
            started = time.monotonic()
            results[name] = ALL[name]()
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    if is_written:
        DATA.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if ALL.keys() <= results.keys():
        page, plot = page_of(results), plot_of(results)
        print(page)
        if is_written:
            (ROOT / "docs" / "performance.md").write_text(page, encoding="utf-8")
            (ROOT / "docs" / "performance.svg").write_text(plot, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
