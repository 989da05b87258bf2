"""What lists of traces show of an enclosing span, by the names of OpenInference, which most backends read whatever else a span has.

Tried with Phoenix, MLflow and agentmesh, and read in the source of Langfuse: texts and kind fill the row of a trace. A generation
of `semconv` has none of them: in Langfuse and MLflow they would stand in place of its messages.
"""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.record.enclosing_facts import EnclosingContent, EnclosingSpanFacts
from llm_otel_broadcast.record.span_data import AttributeValue

SPAN_KIND: Final = "openinference.span.kind"
CHAIN: Final = "CHAIN"


def kind_of(facts: EnclosingSpanFacts) -> dict[str, AttributeValue]:
    """Return the attribute that says what kind of span it is."""
    return {SPAN_KIND: facts.kind.upper()}


def excerpt_attributes(content: EnclosingContent) -> dict[str, AttributeValue]:
    """Return what went in and what came out, as far as there is any."""
    attributes: dict[str, AttributeValue] = {}
    for name, excerpt in (("input", content.input), ("output", content.output)):
        if excerpt.text:
            attributes[f"{name}.value"] = excerpt.text
            attributes[f"{name}.mime_type"] = "application/json" if excerpt.is_json else "text/plain"
    return attributes
