"""What an enclosing span says of itself: its operation by the GenAI conventions, and by OpenInference's names what lists of traces show.

Most backends read these whatever else a span has.

Tried with Phoenix, MLflow and agentmesh, and read in the source of Langfuse: texts and kind fill the row of a trace. A generation
of `semconv` has none of them: in Langfuse and MLflow they would stand in place of its messages.
"""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.fields.metadata import MAX_VALUE_CHARACTERS
from llm_otel_broadcast.record.enclosing_facts import EnclosingContent, EnclosingSpanFacts
from llm_otel_broadcast.record.enclosing_span import OPERATIONS
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


def own_texts(content: EnclosingContent | None) -> tuple[str, str]:
    """Return what a function got and returned; empty texts for what is not known, or was said below it."""
    if content is None:
        return "", ""
    return content.input.text if content.input.is_own else "", content.output.text if content.output.is_own else ""


def operation_attributes(facts: EnclosingSpanFacts, content: EnclosingContent | None) -> dict[str, AttributeValue]:
    """Return what the conventions have for a tool, an agent or a search; nothing of it makes the span a call of a model."""
    operation = OPERATIONS.get(facts.kind)
    if operation is None:
        return {}
    own_input, own_output = own_texts(content)
    subject = facts.subject[:MAX_VALUE_CHARACTERS]
    texts: dict[str, str] = {}
    if facts.kind == "tool":
        texts = {"gen_ai.tool.name": subject, "gen_ai.tool.type": "function"}
        texts |= {"gen_ai.tool.call.arguments": own_input, "gen_ai.tool.call.result": own_output}
    elif facts.kind == "agent":
        texts = {"gen_ai.agent.name": subject}
    else:
        texts = {"gen_ai.retrieval.query.text": own_input}
    return {"gen_ai.operation.name": operation, **{name: text for name, text in texts.items() if text}}
