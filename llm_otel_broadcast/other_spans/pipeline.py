"""From another instrumentation's span to what one destination is sent. Runs on the lane's thread only."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from llm_otel_broadcast.app.other_tracers import is_inference
from llm_otel_broadcast.delivery.aliases import Aliases
from llm_otel_broadcast.delivery.privacy import Privacy
from llm_otel_broadcast.delivery.seams import LeftOut
from llm_otel_broadcast.delivery.selection import Candidate, Selection
from llm_otel_broadcast.fields.metadata import metadata_attributes
from llm_otel_broadcast.host.bounded import BoundedDict
from llm_otel_broadcast.other_spans.convert import Origins, read
from llm_otel_broadcast.other_spans.facts import facts_of, session_of
from llm_otel_broadcast.other_spans.foreign_span import ForeignSpan
from llm_otel_broadcast.other_spans.privacy import SpanPrivacy
from llm_otel_broadcast.record.generation import NOTHING
from llm_otel_broadcast.record.span_data import STATUS_ERROR, AttributeValue, SpanData
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.settings.destination import Destination

# A bound on memory: the traces and answers that came last decide.
_MAX_TRACES: Final = 10_000
_MAX_ANSWERS: Final = 10_000
_RESPONSE_IDS: Final = ("gen_ai.response.id", "llm.response.id")


class ForeignRendering:
    """What one destination is sent of other instrumentations' spans.

    Agents, chains and tools go where the generations of their trace go: rules that ask for a model do not fit them. Those that
    end before the first generation does are judged by themselves.
    """

    def __init__(
        self,
        destination: Destination,
        selection: Selection,
        privacy: Privacy,
        *,
        capture_content: bool,
        max_chars: int,
        service_name: str | None,
    ) -> None:
        self._endpoint = destination.endpoint
        self._content = capture_content and not destination.privacy_mode
        self._selection = selection
        self._privacy = privacy
        self._span_privacy = SpanPrivacy(privacy, max_chars)
        self._aliases = Aliases(destination.aliases)
        self._origins = Origins(service_name, destination.resource_attributes)
        self._traces: BoundedDict[int, bool] = BoundedDict(_MAX_TRACES)
        self._answers: BoundedDict[str, None] = BoundedDict(_MAX_ANSWERS)

    def recorded(self, response_id: str | None) -> None:
        """Note the answer of a call that we recorded ourselves, so that no other instrumentation's span of it is sent as well."""
        if response_id is not None:
            self._answers[response_id] = None

    def render(self, record: ForeignSpan) -> list[SpanData] | LeftOut:
        """Return the span as it is sent, or why it is not."""
        span = read(record.span, self._origins.of(record.span))
        inference = is_inference(span.attributes)
        # A call that we have recorded ourselves would be there twice.
        is_ours = inference and any(span.attributes.get(key) in self._answers for key in _RESPONSE_IDS)
        if self._endpoint in record.sent_to or is_ours:
            return LeftOut("recorded")
        own = _own_attributes(record.fields)
        attributes = {**own, **span.attributes}
        sent = self._traces.get(span.trace_id)
        # An agent or a tool has no model that a rule could ask for: it goes where the generations of its trace go.
        if sent is not None and not inference:
            reason = None if sent else "with_its_trace"
        else:
            # Whole sessions are kept or left out, without a session whole traces.
            session = session_of(attributes) or f"{span.trace_id:032x}"
            failed = span.status_code == STATUS_ERROR
            host = str(span.attributes.get("server.address", ""))
            candidate = Candidate(session, failed, NOTHING, facts_of(attributes), host)
            reason = self._selection.reason_against(candidate)
        # One generation that is sent takes what is left of its trace with it.
        if inference:
            self._traces[span.trace_id] = reason is None or bool(sent)
        if reason is not None:
            return LeftOut(reason)
        # A scope of the program may be private, whatever the destination is.
        content = self._content and not record.fields.private
        sent_span = self._span_privacy.narrow(span, content=content, operation=_operation_of(span), own=own)
        return [self._aliases.name_other(sent_span, self._privacy.fields(record.fields))]

    def shortened(self, record: ForeignSpan, max_chars: int) -> SpanData:
        """Return the span of a record that is sent once more, with shorter content; 0 characters: without any."""
        span = read(record.span, self._origins.of(record.span))
        own = _own_attributes(record.fields)
        span = replace(span, attributes={**own, **span.attributes})
        content = max_chars > 0 and self._content and not record.fields.private
        sent_span = SpanPrivacy(self._privacy, max_chars).narrow(
            span, content=content, operation=_operation_of(span), own=own
        )
        return self._aliases.name_other(sent_span, self._privacy.fields(record.fields))

    @property
    def withheld(self) -> int:
        """Number of values of other instrumentations' spans withheld from the destination, as they may be content."""
        return self._span_privacy.withheld


def _operation_of(span: SpanData) -> str:
    embeds = "embed" in str(span.attributes.get("gen_ai.operation.name", "")) or (
        span.attributes.get("openinference.span.kind") == "EMBEDDING"
    )
    return "embeddings" if embeds else ""


def _own_attributes(fields: Fields) -> dict[str, AttributeValue]:
    """Return the fields of the program's scopes as attributes; the span's own attributes win over them."""
    attributes: dict[str, AttributeValue] = {}
    if fields.user:
        attributes["user.id"] = fields.user
    if fields.session_id:
        attributes["session.id"] = fields.session_id
    return attributes | metadata_attributes(fields.metadata)
