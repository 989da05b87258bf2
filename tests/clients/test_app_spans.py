"""The courtesy span in the app's own tracing, and what is current while a call runs."""

from __future__ import annotations

import asyncio

import openai
import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import llm_otel_broadcast
from tests.support.app import App
from tests.support.client_calls import MESSAGES, chat


@pytest.fixture
def app():
    made = App()
    yield made
    made.provider.shutdown()


def test_each_call_gets_a_span_in_the_apps_provider_with_the_same_ids(kind, stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider)
    chat(kind, stand_in.base_url)
    (sent,) = arrived(1)
    own = app.spans["chat gpt-4o-mini"]
    assert f"{own.context.trace_id:032x}" == sent.trace_id
    assert f"{own.context.span_id:016x}" == sent.span_id
    assert own.kind is trace.SpanKind.CLIENT


def test_it_hangs_below_the_apps_current_span(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider)
    with app.tracer.start_as_current_span("handler"):
        chat("sync", stand_in.base_url)
    (sent,) = arrived(1)
    handler = app.spans["handler"]
    assert app.spans["chat gpt-4o-mini"].parent.span_id == handler.context.span_id
    assert sent.parent_span_id == f"{handler.context.span_id:016x}"


def test_a_trace_name_makes_a_span_between_the_apps_and_the_generation(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider)
    with app.tracer.start_as_current_span("handler"):
        chat("sync", stand_in.base_url, extra_body={"trace": {"trace_name": "Root", "span_name": "Step"}})
    spans = app.spans
    chain = ["chat gpt-4o-mini", "Step", "Root", "handler"]
    assert [spans[name].parent.span_id for name in chain[:-1]] == [spans[name].context.span_id for name in chain[1:]]
    sent = {span.name: span for span in arrived(3)}
    assert sent["Root"].parent_span_id == f"{spans['handler'].context.span_id:016x}"
    assert sent["Step"].parent_span_id == sent["Root"].span_id


def test_an_explicit_trace_id_wins_for_what_is_broadcast_only(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider)
    with app.tracer.start_as_current_span("handler"):
        chat("sync", stand_in.base_url, extra_body={"trace": {"trace_id": "a" * 32}})
    (sent,) = arrived(1)
    own = app.spans["chat gpt-4o-mini"]
    assert sent.trace_id == "a" * 32
    assert own.context.trace_id == app.spans["handler"].context.trace_id
    assert sent.span_id == f"{own.context.span_id:016x}"


def test_it_carries_everything_but_content_and_estimates(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider)
    chat("sync", stand_in.base_url, extra_body={"trace": {"team": "red"}})
    sent, own = arrived(1)[0].attributes, dict(app.spans["chat gpt-4o-mini"].attributes)
    assert own["gen_ai.usage.total_tokens"] == sent["gen_ai.usage.total_tokens"]
    assert own["trace.metadata.team"] == "red"
    assert not [key for key in own if "messages" in key or "cost" in key]


def test_content_goes_there_when_asked_for(stand_in, app, instrumented):
    instrumented(tracer_provider=app.provider, capture_content_in_app_spans=True)
    chat("sync", stand_in.base_url)
    assert "Hello!" in app.spans["chat gpt-4o-mini"].attributes["gen_ai.input.messages"]


def test_an_error_is_marked_there_without_its_text(stand_in, app, instrumented):
    instrumented(tracer_provider=app.provider)
    with pytest.raises(openai.BadRequestError):
        chat("sync", stand_in.base_url, messages=[{"role": "user", "content": "trigger error"}])
    own = app.spans["chat gpt-4o-mini"]
    assert own.status.status_code is trace.StatusCode.ERROR
    assert "trigger" not in repr((own.status.description, own.attributes, own.events))


def test_a_streams_span_ends_with_the_stream(client, app, instrumented):
    instrumented(tracer_provider=app.provider)
    chunks = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True)
    assert not app.spans
    list(chunks)
    assert "chat gpt-4o-mini" in app.spans


def test_a_sampler_of_the_app_does_not_decide_what_is_broadcast(stand_in, instrumented, arrived):
    app = App(sampler=ALWAYS_OFF)
    instrumented(tracer_provider=app.provider)
    chat("sync", stand_in.base_url)
    arrived(1)
    assert not app.spans


def test_app_spans_false_makes_none(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider, app_spans=False)
    chat("sync", stand_in.base_url)
    arrived(1)
    assert not app.spans


def test_without_a_destination_explicit_ids_are_a_remote_parent_there(stand_in, app):
    llm_otel_broadcast.instrument(destinations=[], tracer_provider=app.provider)
    chat("sync", stand_in.base_url, extra_body={"trace": {"trace_id": "a" * 32, "parent_span_id": "b" * 16}})
    own = app.spans["chat gpt-4o-mini"]
    assert (own.context.trace_id, own.parent.span_id) == (int("a" * 32, 16), int("b" * 16, 16))


def test_another_instrumentations_span_of_the_call_is_not_doubled(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider)
    other = app.provider.get_tracer("opentelemetry.instrumentation.openai")
    with other.start_as_current_span(
        "chat", kind=trace.SpanKind.CLIENT, attributes={"gen_ai.operation.name": "chat"}
    ) as theirs:
        chat("sync", stand_in.base_url)
    assert list(app.spans) == ["chat"]
    assert arrived(1)[0].parent_span_id == f"{theirs.get_span_context().span_id:016x}"


def test_what_the_client_does_below_hangs_below_the_call(stand_in, app, instrumented, arrived, monkeypatch):
    """The courtesy span is current while the request is under way."""
    instrumented(tracer_provider=app.provider)
    seen = _current_during_call(stand_in, monkeypatch)
    chat("sync", stand_in.base_url)
    assert f"{seen[0].span_id:016x}" == arrived(1)[0].span_id


def test_without_a_provider_a_bare_sampled_context_is_current(stand_in, instrumented, arrived, monkeypatch):
    instrumented()
    seen = _current_during_call(stand_in, monkeypatch)
    chat("sync", stand_in.base_url)
    (sent,) = arrived(1)
    assert (f"{seen[0].trace_id:032x}", f"{seen[0].span_id:016x}") == (sent.trace_id, sent.span_id)
    assert seen[0].trace_flags.sampled


def _current_during_call(stand_in, monkeypatch):
    """Note the span context that is current when the client sends, by way of its own hook for default headers."""
    seen = []
    headers = openai.OpenAI.default_headers.fget

    def noting(self):
        seen.append(trace.get_current_span().get_span_context())
        return headers(self)

    monkeypatch.setattr(openai.OpenAI, "default_headers", property(noting))
    return seen


@pytest.mark.parametrize("streamed", [False, True])
def test_nothing_is_left_in_the_context(stand_in, app, instrumented, streamed):
    instrumented(tracer_provider=app.provider)

    async def calls() -> None:
        before = context.get_current()
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client:
            made = [
                client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=streamed) for _ in range(5)
            ]
            for result in await asyncio.gather(*made):
                assert context.get_current() == before
                if streamed:
                    async for _ in result:
                        assert context.get_current() == before
        assert context.get_current() == before

    asyncio.run(calls())


def test_a_provider_that_is_set_late_is_found(stand_in, receiver):
    """Run apart, because a global provider can be set only once a process."""
    import subprocess
    import sys

    program = f"""
import llm_otel_broadcast, openai
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
handle = llm_otel_broadcast.instrument(endpoint={receiver.endpoint!r})
client = openai.OpenAI(api_key="x", base_url={stand_in.base_url!r})
ask = lambda: client.chat.completions.create(model="gpt-4o", messages=[{{"role": "user", "content": "Hi"}}])
ask()
memory = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)
ask()
print(len(memory.get_finished_spans()), handle.flush())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout.split() == ["1", "True"], done.stderr
    assert len(receiver.store.spans()) == 2
