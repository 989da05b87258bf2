"""The facts in a span of the `openrouter` dialect: where it hangs, whose ids it has, attempts, what is made of others."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider

from llm_otel_broadcast import Destination, trace_context
from llm_otel_broadcast.dialects.openrouter import OPENROUTER
from llm_otel_broadcast.record.generation import Attempt, Choice, GenerationFacts
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.trace_fields import NO_FIELDS
from llm_otel_broadcast.record.usage import Cost, Usage
from llm_otel_broadcast.stand_in.answers import completion, message, usage_of
from tests.dialects.openrouter_calls import ASKED, MODEL, SERVICE, digest
from tests.support.spans import spans_in


class TestPlace:
    """Where the span hangs, and whose ids it has."""

    @pytest.mark.parametrize("ids", ["own", "openrouter"])
    def test_named_traces_and_steps_make_no_spans(self, sent, ids):
        trace = {"trace_name": "T", "span_name": "S", "parent_span_id": "0123456789abcdef", "trace_id": "job"}
        (span,) = sent(extra_body={"trace": trace}, settings={"ids": ids})
        assert span.parent_span_id == "0123456789abcdef"
        assert span.trace_id == digest("job", 32)
        assert span.resource["openrouter.trace.id"] == "job"
        assert span.attributes["trace.name"] == "T"

    def test_a_context_of_the_programs_makes_no_parent(self, sent):
        with trace_context(trace_name="T"), trace_context(span_name="S"):
            (span,) = sent()
        assert span.parent_span_id == ""

    def test_ids_are_our_own_unless_asked_for(self, sent):
        (span,) = sent(completion(message("Ho"), model=MODEL))
        assert span.span_id != digest(span.attributes["gen_ai.response.id"], 16)

    def test_the_gateways_ids_are_taken_in_any_dialect(self, openrouter, instrumented, arrived, stand_in):
        instrumented(ids="openrouter")
        openrouter.chat.completions.create(model=MODEL, messages=ASKED)
        (span,) = arrived(1)
        generation_id = span.attributes["gen_ai.response.id"]
        assert (span.trace_id, span.span_id) == (digest(generation_id, 32), digest(generation_id, 16))

    def test_generations_of_one_trace_stay_together(self, openrouter, instrumented, arrived):
        instrumented(dialect="openrouter", ids="openrouter")
        with trace_context(trace_name="T"):
            for _ in range(2):
                openrouter.chat.completions.create(model=MODEL, messages=ASKED)
        first, second = arrived(2)
        assert first.trace_id == second.trace_id
        assert first.span_id == digest(first.attributes["gen_ai.response.id"], 16)

    def test_ids_that_something_else_refers_to_stay_ours(self, sent, stand_in):
        shown = []
        (span,) = sent(
            completion(message("Ho"), model=MODEL),
            settings={"ids": "openrouter"},
            options={"on_generation": lambda generation: shown.append(generation.span_id)},
        )
        assert shown == [span.span_id]

    def test_ids_of_a_span_of_the_apps_stay(self, sent):
        provider = TracerProvider()
        (span,) = sent(
            completion(message("Ho"), model=MODEL),
            settings={"ids": "openrouter"},
            options={"app_spans": True, "tracer_provider": provider},
        )
        assert span.span_id != digest(span.attributes["gen_ai.response.id"], 16)

    def test_ids_that_the_gateways_spans_hang_below_stay(self, sent, stand_in):
        (span,) = sent(
            completion(message("Ho"), model=MODEL), settings={"ids": "openrouter"}, options={"link_gateway": True}
        )
        assert stand_in.requests[-1].json["trace"]["parent_span_id"] == span.span_id

    def test_ids_of_other_servers_stay_ours(self, client, instrumented, arrived, stand_in):
        instrumented(dialect="openrouter", ids="openrouter")
        stand_in.script(completion(message("Ho"), model=MODEL))
        client.chat.completions.create(model=MODEL, messages=ASKED)
        (span,) = arrived(1)
        assert span.span_id != digest(span.attributes["gen_ai.response.id"], 16)


@pytest.fixture
def facts():
    made = GenerationFacts()
    for name in GenerationFacts.__slots__:
        setattr(made, name, None)
    made.operation, made.api = "chat", "chat_completions"
    made.start_ns, made.end_ns = 1_000_000_000_000_123, 1_005_482_000_000_456
    made.trace_id, made.span_id, made.parent_span_id, made.outer_parent_span_id = 1, 2, 0, 0
    made.fields = NO_FIELDS
    made.server = Server("openrouter", "openrouter.ai", is_openrouter=True)
    made.request_model = "anthropic/claude-haiku-4.5:nitro"
    made.parameters, made.choices, made.server_calls, made.attempts = {}, [], (), ()
    made.stream, made.tool_count, made.tool_names, made.tool_call_count = False, 0, (), 0
    return made


class TestFacts:
    """Attributes that are made of others."""

    def test_times_of_a_stream_are_whole_milliseconds_and_the_pace_is_theirs(self, facts):
        facts.stream, facts.first_chunk_ns, facts.usage = True, 4_413_900_000, Usage(output_tokens=842)
        facts.end_ns = facts.start_ns + 5_482_100_000
        attributes = OPENROUTER.generation_span(facts, None, None).attributes
        times = {key.removeprefix(SERVICE): value for key, value in attributes.items() if key.endswith("_ms")}
        assert times == {
            "first_token_ms": 4413.0,
            "provider_body_end_ms": 5482.0,
            "inter_token_latency_ms": 1.2711058263971462,
        }

    def test_a_single_token_has_no_pace(self, facts):
        facts.stream, facts.first_chunk_ns, facts.usage = True, 1_000_000, Usage(output_tokens=1)
        attributes = OPENROUTER.generation_span(facts, None, None).attributes
        assert f"{SERVICE}inter_token_latency_ms" not in attributes

    def test_absent_is_absent(self, facts):
        assert OPENROUTER.generation_span(facts, None, None).attributes == {
            "trace.name": "OpenRouter Request",
            "span.type": "generation",
            "span.level": "DEFAULT",
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "anthropic",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": "anthropic/claude-haiku-4.5",
            "gen_ai.response.model": "anthropic/claude-haiku-4.5",
            f"{SERVICE}source": "openrouter",
        }

    def test_at_other_servers_the_models_name_stays(self, facts):
        facts.server, facts.request_model = Server("openai", "api.openai.com"), "ft:gpt-4o:acme::1"
        attributes = OPENROUTER.generation_span(facts, None, None).attributes
        assert attributes["gen_ai.request.model"] == "ft:gpt-4o:acme::1"
        assert attributes["gen_ai.system"] == attributes["gen_ai.provider.name"] == "openai"

    def test_an_estimate_says_so(self, facts):
        facts.usage = Usage(input_tokens=1)
        attributes = OPENROUTER.generation_span(facts, None, Cost(1.0, 2.0, 3.0)).attributes
        assert attributes["gen_ai.usage.total_cost"] == 3.0
        assert attributes["gen_ai.usage.cost.source"] == "estimated"
        facts.usage = Usage(input_tokens=1, cost=0)
        attributes = OPENROUTER.generation_span(facts, None, Cost(1.0, 2.0, 3.0)).attributes
        assert repr(attributes["gen_ai.usage.total_cost"]) == "0.0"
        assert "gen_ai.usage.cost.source" not in attributes

    def test_the_status_of_a_response_stands_for_its_reason(self, facts):
        facts.api, facts.details, facts.choices = "responses", {"response_status": "completed"}, [Choice()]
        attributes = OPENROUTER.generation_span(facts, None, None).attributes
        assert attributes[f"{SERVICE}finish_reason"] == "completed"

    def test_output_audio_is_never_counted(self, facts):
        facts.usage = Usage(output_audio_tokens=3, input_audio_tokens=0)
        attributes = OPENROUTER.generation_span(facts, None, None).attributes
        assert [key for key in attributes if "audio" in key] == ["gen_ai.usage.input_tokens.audio"]


class TestAttempts:
    """When a gateway's tries at providers were."""

    @pytest.mark.parametrize("dialect", ["openrouter", "semconv"])
    def test_attempts_follow_each_other_where_their_latency_is_known(self, facts, dialect):
        facts.attempts = [Attempt("A", status=429, latency_ms=100.0), Attempt("B", status=200, latency_ms=1e30)]
        first, second = spans_in(dialect, facts)[1:]
        assert (first.start_ns // 10**6, first.end_ns // 10**6) == (1_000_000_000, 1_000_000_100)
        assert second.start_ns // 10**6 == first.end_ns // 10**6
        # None ends after the generation.
        assert second.end_ns // 10**6 == facts.end_ns // 10**6

    @pytest.mark.parametrize("dialect", ["openrouter", "semconv"])
    def test_from_the_first_unknown_latency_on_only_the_order_is_known(self, facts, dialect):
        facts.attempts = [Attempt("A", latency_ms=5.0), Attempt("B"), Attempt("C", latency_ms=5.0)]
        spans = spans_in(dialect, facts)[1:]
        whole = (facts.start_ns // 10**6, facts.end_ns // 10**6)
        assert [(span.start_ns // 10**6, span.end_ns // 10**6) for span in spans[1:]] == [whole, whole]

    @pytest.mark.parametrize("latency", [-1, float("nan"), "5", True, 1e30])
    def test_a_latency_that_is_none_is_unknown(self, sent, latency):
        tried = [{"provider": "Azure", "status": 200, "latency": latency}]
        root, attempt = sent(completion(message("Ho"), model=MODEL, openrouter_metadata={"attempts": tried}))
        assert (attempt.start_ns, attempt.end_ns) == (root.start_ns, root.end_ns)

    def test_a_stated_latency_is_the_attempts_length(self, sent):
        tried = [{"provider": "Azure", "status": 200, "latency": 0}]
        root, attempt = sent(completion(message("Ho"), model=MODEL, openrouter_metadata={"attempts": tried}))
        assert (attempt.start_ns, attempt.end_ns) == (root.start_ns, root.start_ns)


GENERATION = "trace.metadata.openrouter_generation."


class TestGenerationMetadata:
    """What OpenRouter's destinations may ask for in addition."""

    def test_there_is_none_unless_asked_for(self, sent):
        (span,) = sent(completion(message("Ho"), model=MODEL, usage=usage_of(3, 2, model=MODEL)))
        assert "openrouter_generation" not in repr(span)

    def test_each_category_has_what_a_client_knows_of_it(self, sent):
        answer = completion(message("Ho"), model=MODEL, usage=usage_of(3, 2, model=MODEL), service_tier="default")
        settings = {"generation_metadata": {"cost", "identity", "request_context"}}
        (span,) = sent(answer, settings=settings, user="ann", service_tier="flex")
        more = {
            key.removeprefix(GENERATION): value for key, value in span.attributes.items() if key.startswith(GENERATION)
        }
        assert more == {
            "usage": 2.75e-05,
            "usage_is_estimated": False,
            "is_byok": False,
            "byok_usage_inference": 0,
            "api_type": "completions",
            "requested_service_tier": "flex",
            "service_tier": "default",
            "streamed": False,
            "cancelled": False,
            "external_user": "ann",
        }
        for name, value in more.items():
            assert span.attributes[f"span.metadata.openrouter_generation.{name}"] == value

    def test_it_is_a_setting_of_one_destination(self, receiver):
        destination = Destination(
            endpoint=receiver.endpoint, dialect="openrouter", generation_metadata=["cost", "identity"]
        )
        assert set(destination.generation_metadata) == {"cost", "identity"}
