"""Looking at what arrived as trees."""

from __future__ import annotations

from llm_otel_broadcast.receiver import ReceivedSpan


def by_name(spans: list[ReceivedSpan]) -> dict[str, ReceivedSpan]:
    """Return the spans by name; every name must be there once."""
    assert len({span.name for span in spans}) == len(spans), sorted(span.name for span in spans)
    return {span.name: span for span in spans}


def totals(span: ReceivedSpan) -> dict[str, object]:
    """Return what a span says of everything below it."""
    return {
        key.removeprefix("trace.totals."): value
        for key, value in span.attributes.items()
        if key.startswith("trace.totals.")
    }
