"""Pinned versions of the conventions: the names of each are data, which only a mistake changes."""

from __future__ import annotations

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.clients.openai.messages import content_of
from llm_otel_broadcast.delivery.facts import content_for, enclosing_facts_of, facts_of
from llm_otel_broadcast.dialects import DIALECTS
from llm_otel_broadcast.record.dialect_names import PINNED_DIALECTS
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Attempt, Choice, Generation
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.record.usage import Cost, Usage

COUNTS = [name for name in Usage.__slots__ if name not in {"is_byok", "server_tools"}]
NAMES_OF_1_37 = {
    "gen_ai.conversation.id",
    "gen_ai.input.messages",
    "gen_ai.operation.name",
    "gen_ai.output.messages",
    "gen_ai.output.type",
    "gen_ai.provider.name",
    "gen_ai.request.choice.count",
    "gen_ai.request.encoding_formats",
    "gen_ai.request.frequency_penalty",
    "gen_ai.request.max_tokens",
    "gen_ai.request.model",
    "gen_ai.request.presence_penalty",
    "gen_ai.request.seed",
    "gen_ai.request.stop_sequences",
    "gen_ai.request.temperature",
    "gen_ai.request.top_k",
    "gen_ai.request.top_p",
    "gen_ai.response.finish_reasons",
    "gen_ai.response.id",
    "gen_ai.response.model",
    "gen_ai.system",
    "gen_ai.system_instructions",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "openai.request.service_tier",
    "openai.response.service_tier",
    "openai.response.system_fingerprint",
}
ADDED = {
    "semconv-1.37": set(),
    "semconv-1.38": {"gen_ai.embeddings.dimension.count", "gen_ai.tool.definitions"},
    "semconv-1.40": {
        "gen_ai.prompt.name",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "openai.api.type",
    },
    "semconv-1.41": {
        "gen_ai.request.stream",
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.usage.reasoning.output_tokens",
    },
}
OWN_NAMES = {
    "gen_ai.request.audio.format",
    "gen_ai.request.file.bytes",
    "gen_ai.request.file.names",
    "gen_ai.request.input.count",
    "gen_ai.request.language",
    "gen_ai.request.output_schema.name",
    "gen_ai.request.response_format",
    "gen_ai.request.retries",
    "gen_ai.request.stream_cursor",
    "gen_ai.request.tool_choice",
    "gen_ai.request.tools.count",
    "gen_ai.request.tools.names",
    "gen_ai.request.voice",
    "gen_ai.image.format",
    "gen_ai.image.quality",
    "gen_ai.image.size",
    "gen_ai.moderation.flagged.categories",
    "gen_ai.moderation.flagged.count",
    "gen_ai.response.images.bytes",
    "gen_ai.response.images.count",
    "gen_ai.response.language",
    "gen_ai.response.partial_images.count",
    "gen_ai.response.status",
    "gen_ai.response.tool_calls.count",
    "gen_ai.usage.audio.seconds",
    "gen_ai.usage.cost",
    "gen_ai.usage.cost.source",
    "gen_ai.usage.input_cost",
    "gen_ai.usage.output_cost",
    "gen_ai.usage.total_cost",
    "gen_ai.usage.total_tokens",
    "openai.request.background",
    "openai.response.error.code",
    "openai.response.request_id",
}
"""Names that the conventions never had: a version says nothing about them."""


@pytest.fixture
def record():
    """A record with every fact that there is."""
    record = Generation("chat", "chat_completions")
    record.server = Server("openai", "api.openai.com", 443, vendor="openai")
    record.request_model = record.response_model = "gpt-4o"
    record.fields = Fields(session_id="s")
    numbers = ("frequency_penalty", "presence_penalty", "temperature", "top_p", "top_k", "seed", "max_tokens", "n")
    texts = ("reasoning_effort", "output_type", "tool_choice", "output_schema_name", "service_tier")
    record.parameters = dict.fromkeys(numbers, 2) | dict.fromkeys(texts, "x") | {"stop": ["x"]}
    details = (
        "background conversation_id is_compacted previous_response_id prompt_name prompt_version inputs file_names "
        "file_bytes dimensions encoding_formats image_format image_quality image_size images image_bytes partial_images "
        "voice audio_format text_format language answer_language flagged flagged_categories response_status stream_cursor"
    )
    record.details = dict.fromkeys(details.split(), "x")
    record.stream = True
    record.instructions = "Be brief."
    record.messages = [{"role": "user", "content": "Hi"}]
    record.tools = [{"type": "function", "function": {"name": "f"}}]
    record.tool_count, record.tool_names, record.tool_call_count, record.retries = 1, ["f"], 1, 1
    record.choices = [Choice(content="Ho", finish_reason="stop")]
    record.response_id = "r"
    record.response_service_tier = record.system_fingerprint = "x"
    record.usage = Usage(**dict.fromkeys(COUNTS, 1))
    record.first_chunk_ns = 1
    record.attempts = [Attempt("Azure")]
    record.failure = Failure("APIError", "text", 500, "code", "id")
    record.end()
    return record


def names_of(dialect, record):
    content = content_for(record, content_of(record))
    span = DIALECTS[dialect]().generation_span(facts_of(record, record.fields), content, Cost(1.0, 1.0, 2.0))
    return {name for name in span.attributes if name.startswith(("gen_ai.", "openai."))}


def test_each_version_has_its_names_and_ours_and_no_others(record):
    names = set(NAMES_OF_1_37)
    for dialect, added in ADDED.items():
        names |= added
        assert names_of(dialect, record) == names | OWN_NAMES


def test_the_newest_text_has_all_names_of_the_versions(record):
    newest = names_of("semconv", record)
    assert names_of("semconv-1.41", record) < newest
    assert "gen_ai.usage.cache_write.input_tokens" in newest


@pytest.mark.parametrize(
    ("dialect", "url"),
    [
        ("semconv-1.37", "https://opentelemetry.io/schemas/1.37.0"),
        ("semconv-1.38", "https://opentelemetry.io/schemas/1.38.0"),
        ("semconv-1.40", "https://opentelemetry.io/schemas/1.40.0"),
        ("semconv-1.41", "https://opentelemetry.io/schemas/1.41.1"),
    ],
)
def test_each_span_says_which_version_it_is_of(record, dialect, url):
    pinned, facts = DIALECTS[dialect](), facts_of(record, record.fields)
    spans = [pinned.generation_span(facts, None, None), *pinned.attempt_spans(facts)]
    spans.append(
        pinned.enclosing_span(enclosing_facts_of(EnclosingSpan("Root", 1, 2, 0, 3), record.fields, None), None)
    )
    assert [span.schema_url for span in spans] == [url] * 3


def test_every_pinned_version_is_tested():
    assert set(PINNED_DIALECTS) == ADDED.keys()


def test_a_destination_may_pin_a_version(stand_in, client, receiver):
    handle = llm_otel_broadcast.instrument(
        destinations=[Destination(endpoint=receiver.endpoint, dialect="semconv-1.37")]
    )
    list(client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}], stream=True))
    assert handle.flush()
    (span,) = receiver.store.spans()
    assert "gen_ai.input.messages" in span.attributes
    assert "gen_ai.request.stream" not in span.attributes
