"""Received traces as trees for the terminal: name, model, tokens, cost, times, errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text
from rich.tree import Tree

from llm_otel_broadcast.receiver import ReceivedSpan
from llm_otel_broadcast.record.span_data import KIND_CLIENT, STATUS_ERROR


@dataclass(frozen=True, slots=True)
class Line:
    """Facts on one line; a narrow terminal gets a break between two of them, never inside one."""

    facts: Sequence[Text]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines: list[Text] = []
        for fact in self.facts:
            if lines and lines[-1].cell_len + 2 + fact.cell_len <= options.max_width:
                lines[-1] = Text.assemble(lines[-1], "  ", fact)
            else:
                lines.append(Text.assemble("  " if lines else "", fact))
        yield from lines


def trace_trees(traces: Mapping[str, Sequence[ReceivedSpan]]) -> Iterable[Tree]:
    """Yield one tree for each trace, oldest first."""
    for trace_id, spans in traces.items():
        # Session, user and metadata are the same on all spans of a trace.
        attributes = spans[0].attributes
        labels = {"user.id": "user", "session.id": "session"}
        parts = [f"{label} {attributes[key]}" for key, label in labels.items() if key in attributes]
        prefix = "trace.metadata."
        parts += [f"{key.removeprefix(prefix)}={value}" for key, value in attributes.items() if key.startswith(prefix)]
        heading = Line([Text(f"trace {trace_id}", "dim"), *(Text(part, "cyan") for part in parts)])
        tree = Tree(heading, guide_style="dim")
        # A parent that is not here is a span of the app, or of a service before it: its children are at the top.
        span_ids = {span.span_id for span in spans}
        children: dict[str, list[ReceivedSpan]] = {}
        for span in sorted(spans, key=lambda span: span.start_ns):
            children.setdefault(span.parent_span_id if span.parent_span_id in span_ids else "", []).append(span)
        # A stack of our own: a trace of a thousand spans in each other is no reason for a RecursionError.
        open_branches = [(tree, "")]
        while open_branches:
            branch, parent = open_branches.pop()
            open_branches += [(branch.add(_line(span)), span.span_id) for span in children.get(parent, ())]
        yield tree


def _line(span: ReceivedSpan) -> Line:
    failed = span.status_code == STATUS_ERROR
    if span.kind != KIND_CLIENT:
        return Line([Text(span.name, "bold"), Text(_seconds(span.duration_s), "yellow")])
    model = _text(span, "gen_ai.response.model") or _text(span, "gen_ai.request.model")
    first_chunk_s = span.attributes.get("gen_ai.response.time_to_first_chunk")
    input_tokens = span.attributes.get("gen_ai.usage.input_tokens")
    output_tokens = span.attributes.get("gen_ai.usage.output_tokens")
    # Cached tokens are part of the input tokens, not besides them.
    cached = span.attributes.get("gen_ai.usage.cache_read.input_tokens")
    note = f" ({cached} cached)" if cached else ""
    tokens = f"{input_tokens} in{note}, {output_tokens} out"
    cost = span.attributes.get("gen_ai.usage.total_cost")
    # A cost that the API has stated and one from a list of prices must not look the same.
    estimated = " (estimated)" if _text(span, "gen_ai.usage.cost.source") == "estimated" else ""
    error = (_text(span, "error.type"), _text(span, "http.response.status_code"))
    facts = [
        (span.name, "bold red" if failed else "bold"),
        # Most spans have the model in their name; one that the caller has named has not.
        ("" if model in span.name else model, "magenta"),
        ("" if input_tokens is None and output_tokens is None else tokens, "blue"),
        (f"${cost:.6f}{estimated}" if isinstance(cost, float) else "", "green"),
        (_seconds(span.duration_s), "yellow"),
        (f"first chunk after {_seconds(first_chunk_s)}" if isinstance(first_chunk_s, float) else "", "yellow"),
        (" ".join(filter(None, error)) if failed else "", "bold red"),
    ]
    return Line([Text(text, style) for text, style in facts if text])


def _text(span: ReceivedSpan, key: str) -> str:
    return str(span.attributes.get(key, ""))


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
