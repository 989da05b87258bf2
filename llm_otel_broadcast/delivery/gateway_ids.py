"""The ids that OpenRouter's own Broadcast gives a generation, for a destination that is sent both (`Destination(ids=)`).

A backend that merges spans by their ids then shows one instead of two.
"""

from __future__ import annotations

from llm_otel_broadcast.fields.ids import derive_span_id, derive_trace_id
from llm_otel_broadcast.record.enclosing_span import Opener
from llm_otel_broadcast.record.generation import Generation, GenerationFacts


def take_gateway_ids(facts: GenerationFacts, record: Generation, *, sends_enclosing_spans: bool) -> None:
    """Put the gateway's ids in the place of ours, as far as nothing else that was sent or shown refers to these.

    Broadcast hashes the generation's id for the span, and for the trace where the request states no `trace_id`.

    Args:
        facts: what one destination is given of the record; changed.
        record: the generation.
        sends_enclosing_spans: the destination is sent the spans above, which have our trace id.
    """
    generation_id = facts.gateway_id
    if generation_id is None or record.is_in_app_traces or record.traced_below:
        return
    facts.span_id = derive_span_id(generation_id)
    is_together = any(
        sends_enclosing_spans or enclosing_span.opener is not Opener.CALL for enclosing_span in record.enclosing_spans
    )
    if not (facts.fields.trace_id or facts.outer_parent_span_id or is_together):
        facts.trace_id = derive_trace_id(generation_id)
