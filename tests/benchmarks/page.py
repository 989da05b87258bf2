"""The page of figures and its plot, from what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tests.benchmarks.host import CHUNKS
from tests.benchmarks.measures import LOADS, QUANTILES

Results = Mapping[str, Any]
"""`counts`: instructions by `MODE:WORK`; `background_counts`, `import_counts`; samples by measure; `rivals`; `versions`; `python`."""
_WORKS: Final = {
    "chat": "a chat call",
    "chat_fields": "the same with a `trace` object and a session",
    "chat_tools": "64 tools",
    "chat_long": "200 messages of 1,000 characters",
    "responses": "the responses API",
    "embeddings": "embeddings",
}
_RIVALS: Final = {
    "official": "OpenTelemetry's own (opentelemetry-instrumentation-genai-openai)",
    "traceloop": "Traceloop (opentelemetry-instrumentation-openai)",
    "openinference": "OpenInference (Arize)",
    "langfuse": "langfuse",
    "logfire": "logfire",
}
_HEADER: Final = """# What tracing costs

Made by `nox -s bench -- --write`, which takes some minutes; what others cost comes from `nox -s bench -- rivals --write`. The real
`openai` client calls a transport that answers from memory. *By hand* is an OpenTelemetry SDK span with 20 attributes, messages as
JSON among them, with a batch processor: no price, no privacy, one destination. *Ours* has all that, content on.

Instructions are counted by callgrind on the thread that makes the call, over the plain calls of the same process, and repeat to about
0.2 % of the call itself: 15 thousand, by where things happen to lie in memory. Times are medians of ways that take turns in one run,
with the lowest and the highest; they depend on the machine.
"""


_REASONS: Final = """### What is left, and why

- **A `trace` object** adds some 65 thousand instructions to the plain call: the root 21 (its id is a SHA-256 of the trace's, so that
  processes agree on it: 10), merging fields 9, reading them 9, finding the arguments that count 8, taking the fields out of the
  request 6. A hand-written span gets five attributes for that.
- **A context that names its trace** is two spans. Its block takes some 165 thousand: opening the root 44, closing it 40, merging and
  checking fields 18, passing them 18, its five objects 14, entering and leaving 11.
- **A streamed chunk** takes 4.4 thousand, and a stream of 200 has 130 to 155 thousand beside them, for its first and its last chunks.
  Of a chunk, five reads of the client's models take 1.9: pydantic has a `__getattr__`, for which Python looks each attribute up the
  long way. Six look-ups in dicts take 1.3, checks 0.5, the generator 0.3, keeping the text 0.3.
- **All CPU of a generation** is mostly the background's. Its 30 attributes go twice through Python's bytecode, once to be made and once
  to be encoded (7 and 9 µs); reading, quoting and writing 2 KB of content takes 12, 6 with orjson; batches, price, facts, request and
  pauses take the rest. The hand-written span has 20 attributes, no price and no destination of its own.
- **Calls back to back**: the client takes some 720 µs for a call from memory, and 5 % of that is less than encoding alone. With a
  server at the other end that takes its time, as all do, the background has that time.
- **p99 of an event loop**: see the table of lateness.
"""

_LATENESS: Final = """How late an event loop's timers of 1 ms are beside 1,000 generations/s: p50, p99 and the latest. To encode those takes some 50 ms
of each second, in which only one thread has the interpreter's lock: five timers in a hundred come while ours has it. It gives
the lock back after 0.3 ms; a thread that does not, keeps it for Python's switch interval of 5 ms.
"""

_SDK_MS: Final = 16
"""What importing the SDK took on the machine on which the goal was set; a millisecond of another one is another time."""
_STARTING: Final = """Of the instructions of `import` and `instrument()`, some 30 million find and read our modules (0.3 million each, were they empty),
30 million compile what named tuples and dataclasses are made of, 15 million load OpenTelemetry's API, which a program that traces
itself has anyway, and 10 million clear it all away at the end of the process; the rest makes classes and functions. The first chat
call adds 10 million, once: its reader comes with the client's own module.
"""


class Row(NamedTuple):
    """A line of the table of goals."""

    title: str
    goal: str
    value: str
    is_met: bool | None


def page_of(results: Results) -> str:
    """Return the page."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    parts = [
        _HEADER,
        f"Python {results['python']}, {versions}. {results['machine']}.\n",
        "![Instructions added to a chat call](performance.svg)\n",
        "## Goals\n",
        _table(("measure", "goal", "measured", ""), [_cells(row) for row in goals(results)]),
        _REASONS,
        "## On the calling thread\n",
        "Thousands of instructions.\n",
        _table(
            (
                "call",
                "the call itself",
                "by hand adds",
                "ours adds, content off",
                "content on",
                "ratio, off",
                "ratio, on",
            ),
            [_work_cells(results, work, title) for work, title in _WORKS.items()],
        ),
        _table(("a chat call, content on", "adds", "ratio"), _setting_cells(results)),
        "## In the background and of the whole process\n",
        _table(("measure", "by hand", "ours", "ratio"), _clock_cells(results)),
        _STARTING,
        _LATENESS,
        _table(("the loop", "nothing is exported", "by hand", "ours"), [_late_cells(results, load) for load in LOADS]),
    ]
    if results.get("rivals"):
        parts += ["## Others\n", "Thousands of instructions added, each in an environment of its own.\n"]
        parts.append(_table(("who", "version", "a chat call, content on", "a streamed chunk"), _rival_cells(results)))
    return "\n".join(parts)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = "|".join(["---", *("---:" for _ in header[1:])])
    return "\n".join([f"| {' | '.join(header)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows), ""])


def _cells(row: Row) -> tuple[str, ...]:
    return (row.title, row.goal, row.value, {True: "met", False: "**not met**", None: ""}[row.is_met])


def _added(results: Results, mode: str, work: str = "chat", plain: str = "plain") -> float:
    counts = results["counts"]
    return float(counts[f"{mode}:{work}"] - counts[f"{plain}:{work}"])


def _whole(results: Results, mode: str) -> float:
    """Return the instructions that a call with 2 KB of content adds, delivery in the background included."""
    who = "span" if mode == "span" else "ours"
    return _added(results, mode, "chat_medium") + float(results["background_counts"][who])


def chunk(results: Results, mode: str = "content") -> float:
    """Return the instructions that are added to a streamed chunk."""
    return (_added(results, mode, "stream") - _added(results, mode)) / CHUNKS


def _start(results: Results) -> float:
    """Return what `import` and `instrument()` take of what importing the SDK takes, in instructions."""
    counts = results["import_counts"]
    return float((counts["ours"] - counts["plain"]) / (counts["sdk"] - counts["plain"]))


def _median(results: Results, measure: str, name: str) -> float:
    return statistics.median(results[measure][name])


def _spread(samples: Sequence[float], text: Callable[[float], str]) -> str:
    return f"{text(statistics.median(samples))} ({text(min(samples))} to {text(max(samples))})"


def goals(results: Results) -> list[Row]:
    """Return what was aimed at, and what has been reached."""
    span = _added(results, "span")

    def share(title: str, goal: float, ratio: float) -> Row:
        # As it is shown: counts do not repeat to more than that.
        return Row(title, f"{goal:g} of by hand", f"{ratio:.2f}", round(ratio, 2) <= goal)

    def bound(title: str, goal: float, unit: str, value: float, spread: str = "") -> Row:
        return Row(title, f"at most {goal:g} {unit}", spread or f"{value:,.1f} {unit}", value <= goal)

    def milliseconds(value: float) -> str:
        return f"{value:.1f} ms"

    started = {name: _median(results, "runs", name) for name in ("plain", "ours")}
    delivery_us = _median(results, "delivery", "ours clock")
    late = {name: _median(results, "company", f"{name} 30 % busy p99") for name in ("plain", "ours")}
    back_to_back = _median(results, "burst", "ours") / _median(results, "burst", "plain") - 1
    ends_s = (
        max(_median(results, "ends", name) - _median(results, "ends", "plain") for name in ("dead", "hanging")) / 1e3
    )
    untouched = {
        mode: _added(results, mode, plain="suppressed_plain" if mode == "suppressed" else "plain")
        / results["counts"]["plain:chat"]
        for mode in ("uninstrumented", "suppressed", "filtered")
    }
    return [
        share("a chat call, content off", 0.3, _added(results, "ours") / span),
        share("a chat call, content on", 0.3, _added(results, "content") / span),
        share(
            "200 KB of conversation",
            0.05,
            _added(results, "content", "chat_long") / _added(results, "span", "chat_long"),
        ),
        share(
            "a call with a `trace` object and a session",
            0.4,
            _added(results, "content", "chat_fields") / (_added(results, "span", "chat_fields")),
        ),
        share(
            "within a context with trace, session and user: two spans",
            0.4,
            _added(results, "context") / _added(results, "span_context"),
        ),
        bound("a streamed chunk, thousand instructions", 5, "k", chunk(results) / 1e3),
        *(
            Row(f"{mode}: of the plain call", "1.00", f"{1 + added:.3f}", added < 0.005)
            for mode, added in untouched.items()
        ),
        bound(
            "background, CPU of a generation",
            60,
            "µs",
            _median(results, "delivery", "ours cpu"),
            _spread(results["delivery"]["ours cpu"], lambda value: f"{value:.0f} µs"),
        ),
        share(
            "all CPU that a generation adds, in instructions",
            0.5,
            _whole(results, "content") / _whole(results, "span"),
        ),
        Row(
            "records handed to delivery, encoded and sent",
            "at least 10,000/s",
            f"{1e6 / delivery_us:,.0f}/s",
            1e6 / delivery_us >= 10_000,
        ),
        Row(
            "import and `instrument()`, where importing the SDK alone takes 16 ms",
            "at most 30 ms",
            f"{_SDK_MS * _start(results):.0f} ms",
            _SDK_MS * _start(results) <= 30,
        ),
        bound("`run python -c pass` over the program", 20, "ms", started["ours"] - started["plain"]),
        bound("exit with a dead or a hanging destination", 3, "s", ends_s),
        Row("20,000 calls back to back, delivered", "100 %", f"{results['burst']['delivered'][0]:.1%}", None),
        Row("the same, by the clock, over no tracer", "at most 5 %", f"{back_to_back:.1%}", back_to_back <= 0.05),
        Row(
            "p99 of an event loop that is 30 % busy, beside 1,000 generations/s",
            "within 10 % of none",
            f"{milliseconds(late['ours'])}, without {milliseconds(late['plain'])}",
            late["ours"] <= late["plain"] * 1.1,
        ),
        bound("memory of a waiting generation over its content", 3, "KB", results["memory"]["ours"][0] / 1e3),
    ]


def _work_cells(results: Results, work: str, title: str) -> tuple[str, ...]:
    plain = results["counts"][f"plain:{work}"]
    span, off, on = (_added(results, mode, work) for mode in ("span", "ours", "content"))
    figures = (f"{number / 1e3:,.0f}" for number in (plain, span, off, on))
    return (title, *figures, f"{off / span:.2f}", f"{on / span:.2f}")


def _setting_cells(results: Results) -> list[tuple[str, ...]]:
    titles = {
        "content": "one destination",
        "three": "three destinations",
        "ten": "ten destinations",
        "context": "within a context with trace, session and user: two spans, by hand as well",
        "uninstrumented": "after `uninstrument()`",
        "filtered": "another client is watched (`client=`)",
    }
    span = _added(results, "span")
    added = {mode: _added(results, mode) for mode in titles}
    added["suppressed"] = _added(results, "suppressed", plain="suppressed_plain")
    titles["suppressed"] = "instrumentation is suppressed"
    by_hand = {mode: _added(results, "span_context") if mode == "context" else span for mode in titles}
    return [
        (title, f"{added[mode] / 1e3:,.0f}", f"{added[mode] / by_hand[mode]:.2f}") for mode, title in titles.items()
    ]


def _clock_cells(results: Results) -> list[tuple[str, ...]]:
    def microseconds(value: float) -> str:
        return f"{value:,.0f} µs"

    def pair(title: str, measure: str, names: tuple[str, str], base: str | None, text: Callable[[float], str]) -> Any:
        least = _median(results, measure, base) if base else 0.0
        span, ours = ([value - least for value in results[measure][name]] for name in names)
        ratio = statistics.median(ours) / (statistics.median(span) or 1e-9)
        return (title, _spread(span, text), _spread(ours, text), f"{ratio:.2f}")

    counts = results["import_counts"]
    sdk, ours = (counts[name] - counts["plain"] for name in ("sdk", "ours"))
    untraced_us = _median(results, "burst", "plain")
    return [
        (
            "instructions that a call adds, all threads, thousand",
            *(f"{_whole(results, mode) / 1e3:,.0f}" for mode in ("span", "content")),
            f"{_whole(results, 'content') / _whole(results, 'span'):.2f}",
        ),
        pair("CPU of a generation in the background", "delivery", ("span cpu", "ours cpu"), None, microseconds),
        pair(
            "the same without orjson (the extra `fast`)",
            "delivery_by_json",
            ("span cpu", "ours cpu"),
            None,
            microseconds,
        ),
        pair("CPU that a call adds, all threads", "whole", ("span", "ours"), "plain", microseconds),
        pair(
            "imports (by hand: SDK and exporter), CPU",
            "imports",
            ("exporter", "ours"),
            "plain",
            lambda ms: f"{ms:.0f} ms",
        ),
        (
            "imports (by hand: the SDK alone), million instructions",
            f"{sdk / 1e6:.0f}",
            f"{ours / 1e6:.0f}",
            f"{_start(results):.2f}",
        ),
        (
            "1,000 calls back to back until all is sent, over no tracer, by the clock",
            *(f"{_median(results, 'burst', name) / untraced_us - 1:.1%}" for name in ("span", "ours")),
            f"{(_median(results, 'burst', 'ours') - untraced_us) / (_median(results, 'burst', 'span') - untraced_us):.2f}",
        ),
        pair(
            "steps of a computing thread beside 1,000 generations/s",
            "company",
            ("span steps", "ours steps"),
            None,
            lambda steps: f"{steps:,.0f}/s",
        ),
        (
            "500 concurrent calls, each, by the clock (by hand: no tracer)",
            _spread(results["concurrent"]["plain"], microseconds),
            _spread(results["concurrent"]["ours"], microseconds),
            f"{_median(results, 'concurrent', 'ours') / _median(results, 'concurrent', 'plain'):.2f}",
        ),
    ]


def _late_cells(results: Results, load: str) -> tuple[str, ...]:
    def late(name: str) -> str:
        return " / ".join(f"{_median(results, 'company', f'{name} {load} {each}'):.1f}" for each in QUANTILES) + " ms"

    return (load, *(late(name) for name in ("plain", "span", "ours")))


def _rival_cells(results: Results) -> list[tuple[str, ...]]:
    ours = ("**ours**", "", f"{_added(results, 'content') / 1e3:,.0f}", f"{chunk(results) / 1e3:.1f}")
    by_hand = ("by hand", "", f"{_added(results, 'span') / 1e3:,.0f}", "")
    return [
        ours,
        by_hand,
        *(
            (title, rival["version"], f"{rival['chat'] / 1e3:,.0f}", f"{rival['chunk'] / 1e3:.1f}")
            for name, title in _RIVALS.items()
            if (rival := results["rivals"].get(name))
        ),
    ]


def plot_of(results: Results) -> str:
    """Return the bars of what a chat call pays, as SVG."""
    bars = {
        "ours, content off": _added(results, "ours"),
        "ours, content on": _added(results, "content"),
        "span by hand": _added(results, "span"),
        **{
            title.partition(" (")[0]: results["rivals"][name]["chat"]
            for name, title in _RIVALS.items()
            if name in results.get("rivals", {})
        },
    }
    longest = max(bars.values())
    lines = []
    for number, (title, value) in enumerate(bars.items()):
        y, width = 44 + 26 * number, 400 * value / longest
        color = "#2563eb" if title.startswith("ours") else "#94a3b8"
        lines.append(
            f'<text x="190" y="{y + 13}" text-anchor="end">{title}</text>'
            f'<rect x="200" y="{y}" width="{width:.0f}" height="18" rx="2" fill="{color}"/>'
            f'<text x="{206 + width:.0f}" y="{y + 13}">{value / 1e3:,.0f}</text>'
        )
    height = 56 + 26 * len(bars)
    style = "text{font:13px system-ui,sans-serif;fill:#334155}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="680" height="{height}" viewBox="0 0 680 {height}">',
            f'<style>{style}</style><rect width="680" height="{height}" fill="#ffffff"/>',
            '<text x="20" y="26" style="font-weight:600">Thousand instructions that tracing adds to a chat call</text>',
            *lines,
            "</svg>",
            "",
        ]
    )
