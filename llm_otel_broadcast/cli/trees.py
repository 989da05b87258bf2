"""Received traces as trees for the terminal: name, model, tokens, cost, times, errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text
from rich.tree import Tree

from llm_otel_broadcast.receiver import ReceivedSpan
from llm_otel_broadcast.span import KIND_CLIENT, STATUS_ERROR


def trace_trees(traces: Mapping[str, Sequence[ReceivedSpan]]) -> Iterable[Tree]:
    """Return one tree a trace, oldest first."""
    return (_tree(trace_id, spans) for trace_id, spans in traces.items())


def _tree(trace_id: str, spans: Sequence[ReceivedSpan]) -> Tree:
    tree = Tree(_heading(trace_id, spans), guide_style="dim")
    known = {span.span_id for span in spans}
    children: dict[str, list[ReceivedSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start_ns):
        children.setdefault(span.parent_span_id if span.parent_span_id in known else "", []).append(span)
    open_branches = [(tree, "")]
    while open_branches:
        branch, parent = open_branches.pop()
        open_branches += [(branch.add(_line(span)), span.span_id) for span in children.get(parent, ())]
    return tree


def _heading(trace_id: str, spans: Sequence[ReceivedSpan]) -> Text:
    said = spans[0].attributes
    labels = {"user.id": "user", "session.id": "session"}
    parts = [f"{label} {said[key]}" for key, label in labels.items() if key in said]
    parts += [f"{key.removeprefix('trace.metadata.')}={said[key]}" for key in said if key.startswith("trace.metadata.")]
    return Text.assemble((f"trace {trace_id}", "dim"), ("  " + "  ".join(parts), "dim cyan") if parts else "")


def _line(span: ReceivedSpan) -> Text:
    failed = span.status_code == STATUS_ERROR
    if span.kind != KIND_CLIENT:
        return Text.assemble((span.name, "bold"), "  ", (_seconds(span.duration_s), "dim"))
    model = _text(span, "gen_ai.response.model") or _text(span, "gen_ai.request.model")
    facts = [
        ("" if model in span.name else model, "magenta"),
        (_tokens(span), "blue"),
        (_cost(span), "green"),
        (_seconds(span.duration_s), ""),
        (_first_chunk(span), ""),
        (_error(span) if failed else "", "bold red"),
    ]
    line = Text(span.name, "bold red" if failed else "bold")
    for text, style in facts:
        if text:
            line.append("  ").append(text, style)
    return line


def _text(span: ReceivedSpan, key: str) -> str:
    return str(span.attributes.get(key, ""))


def _tokens(span: ReceivedSpan) -> str:
    asked, answered = (span.attributes.get(f"gen_ai.usage.{kind}_tokens") for kind in ("input", "output"))
    if asked is None and answered is None:
        return ""
    cached = span.attributes.get("gen_ai.usage.cache_read.input_tokens")
    note = f" ({cached} cached)" if cached else ""
    return f"{asked}{note} in, {answered} out"


def _cost(span: ReceivedSpan) -> str:
    cost = span.attributes.get("gen_ai.usage.total_cost")
    if not isinstance(cost, float):
        return ""
    estimated = " (estimated)" if _text(span, "gen_ai.usage.cost.source") == "estimated" else ""
    return f"${cost:.6f}{estimated}"


def _first_chunk(span: ReceivedSpan) -> str:
    first = span.attributes.get("gen_ai.response.time_to_first_chunk")
    return f"first chunk after {_seconds(first)}" if isinstance(first, float) else ""


def _error(span: ReceivedSpan) -> str:
    status = span.attributes.get("http.response.status_code")
    return " ".join(filter(None, [_text(span, "error.type"), str(status or "")]))


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
