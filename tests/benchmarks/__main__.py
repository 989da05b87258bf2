"""`python -m tests.benchmarks`: measure, and write RESULTS.md beside this file. Needs valgrind; takes some five minutes."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.counting import per_call
from tests.benchmarks.host import CHUNKS

RESULTS = Path(__file__).with_name("RESULTS.md")
BURST = 20_000
TITLES = {
    "chat": "a plain chat call",
    "chat_fields": "the same with a `trace` object and a session",
    "chat_long": "200 messages of 1,000 characters",
    "stream": f"a stream of {CHUNKS} chunks",
}


def main() -> None:
    if shutil.which("valgrind") is None:
        sys.exit("the benchmarks count instructions with valgrind: install it (apt-get install valgrind)")
    rows, stream_chunk = [], 0.0
    for work, title in TITLES.items():
        counts = {mode: per_call(mode, work) for mode in ("plain", "span", "ours", "content")}
        plain = counts.pop("plain")
        added = {mode: count - plain for mode, count in counts.items()}
        rows.append(row(title, plain, added))
        print(rows[-1], flush=True)
        if work == "stream":
            chat = per_call("content", "chat") - per_call("plain", "chat")
            stream_chunk = (added["content"] - chat) / CHUNKS
    RESULTS.write_text(page(rows, stream_chunk, clock(), burst()), encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


def row(title: str, plain: float, added: dict[str, float]) -> str:
    span, ours, content = added["span"], added["ours"], added["content"]
    return (
        f"| {title} | {plain / 1000:,.0f} | {span / 1000:,.0f} | {ours / 1000:,.0f} | {content / 1000:,.0f} "
        f"| {ours / span:.2f} | {content / span:.2f} | {content / plain:.1%} |"
    )


def clock() -> tuple[float, float]:
    """Return what the hand-written span and ours add to a call, as shares of the call, by CPU time of the host's thread."""
    plain, span, ours = map(float, run("tests.benchmarks.burst").split())
    return (span - plain) / plain, (ours - plain) / plain


def burst() -> str:
    produced, delivered, dropped = map(int, run("tests.benchmarks.burst", str(BURST)).split())
    return f"{delivered / produced:.1%} of {produced:,} calls made without pause arrived, {dropped} dropped"


def run(module: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def page(rows: list[str], chunk: float, clocked: tuple[float, float], burst_line: str) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("openai", "opentelemetry-sdk", "wrapt"))
    return "\n".join(
        [
            "# What a call costs",
            "",
            "Made by `nox -s bench`. Thousands of instructions on the thread that makes the call, counted by callgrind; the",
            "client's transport answers from memory. *By hand*: an OpenTelemetry SDK span with 20 attributes, messages as JSON",
            "among them, and a batch processor. *Ours*: without and with content. What the lanes do on their own threads is",
            "not in it. Counts of one call repeat to about 0.1% of the call itself.",
            "",
            f"Python {platform.python_version()}, {versions}.",
            "",
            "| call | the call itself | by hand adds | ours adds | with content | ratio | with content | of the call |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"A streamed chunk: {chunk / 1000:.1f} thousand instructions added (content on).",
            "",
            f"By the clock (CPU time of the host's thread, medians of turns): by hand adds {clocked[0]:.1%} to the plain call,",
            f"ours with content {clocked[1]:.1%}: {clocked[1] / clocked[0]:.2f} of it.",
            "",
            f"A burst: {burst_line}.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
