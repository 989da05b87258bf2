"""Real instrumentations of others in the app's provider. Run by `nox -s others`, which installs one of them at a time."""

from __future__ import annotations

import importlib
import importlib.util
import os

import openai
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import llm_otel_broadcast
from llm_otel_broadcast import BroadcastSpanProcessor, Destination, instrument
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.stand_in.answers import completion, message, stream, usage_of
from tests.support.deadlines import until

# what the official ones need to be told to have content on their spans at all
os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "span_only"
os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
INSTRUMENTORS = {
    "openinference": ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
    "openllmetry": ("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),
    "official": ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "description": "canary-definition",
            "parameters": {"type": "object", "properties": {}},
        },
    }
]
ASKED = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "system", "content": "canary-system"}, {"role": "user", "content": "canary-prompt"}],
    "tools": TOOLS,
}
ANSWERED = message("canary-answer", tool_calls=[("c1", "look", '{"x": "canary-argument"}')])


def is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


INSTALLED = [name for name, (module, _) in INSTRUMENTORS.items() if is_there(module)]
PYDANTIC_AI = is_there("pydantic_ai.models.openai")
LITELLM = is_there("litellm.integrations.opentelemetry")
pytestmark = [
    pytest.mark.skipif(
        not (INSTALLED or PYDANTIC_AI or LITELLM), reason="needs another instrumentation: nox -s others"
    ),
    pytest.mark.filterwarnings("ignore"),  # what they warn of is theirs
]


@pytest.fixture
def provider():
    made = TracerProvider(shutdown_on_exit=False)
    yield made
    made.shutdown()


@pytest.fixture
def private():
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def theirs(provider):
    """Switch one of theirs on."""
    on = []

    def start(name):
        module, owner = INSTRUMENTORS[name]
        instrumentor = getattr(importlib.import_module(module), owner)()
        instrumentor.instrument(tracer_provider=provider)
        on.append(instrumentor)

    yield start
    for instrumentor in on:
        instrumentor.uninstrument()


def destinations(receiver, private):
    return [
        Destination(name="open", endpoint=receiver.endpoint),
        Destination(name="private", endpoint=private.endpoint, privacy_mode=True),
    ]


def ask(stand_in):
    http = openai.DefaultHttpxClient(verify=False)
    with openai.OpenAI(api_key="k", base_url=stand_in.base_url, max_retries=0, http_client=http) as client:
        stand_in.script(completion(ANSWERED, usage=usage_of(9, 3)), stream(ANSWERED, usage=usage_of(9, 3)))
        client.chat.completions.create(**ASKED)
        list(client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True}))


def sent(receiver):
    return b"".join(request.body for request in receiver.requests).decode()


@pytest.mark.parametrize("name", INSTALLED)
def test_their_spans_arrive_with_content_where_it_may_be_and_nowhere_else(
    name, provider, theirs, stand_in, receiver, private
):
    theirs(name)
    provider.add_span_processor(BroadcastSpanProcessor(destinations=destinations(receiver, private)))
    ask(stand_in)
    assert provider.force_flush(10_000)
    assert len(receiver.store.spans()) == len(private.store.spans()) == 2
    for word in ("system", "prompt", "answer", "argument", "definition"):
        assert f"canary-{word}" in sent(receiver), word
    assert "canary" not in sent(private)
    for span in private.store.spans():
        assert span.scope_name.startswith(INSTRUMENTORS[name][0])
        assert "gpt-4o-mini" in repr(span.attributes)
        assert 9 in span.attributes.values()


@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize("name", INSTALLED)
def test_a_call_that_both_record_arrives_once(name, first, provider, theirs, stand_in, receiver, private):
    start = [lambda: theirs(name), lambda: instrument(destinations=destinations(receiver, private))]
    for one in start if first == "theirs" else reversed(start):
        one()
    provider.add_span_processor(BroadcastSpanProcessor())
    with provider.get_tracer("agents").start_as_current_span("agent", attributes={"gen_ai.agent.name": "helper"}):
        ask(stand_in)
    assert provider.force_flush(10_000)
    assert llm_otel_broadcast.flush(10)
    spans = receiver.store.spans()
    agent = next(span for span in spans if span.name == "agent")
    ours = [span for span in spans if span is not agent]
    assert [span.scope_name for span in ours] == 2 * ["llm_otel_broadcast"]
    assert {span.parent_span_id for span in ours} == {agent.span_id}
    assert "canary" not in sent(private)


@pytest.mark.skipif(not PYDANTIC_AI, reason="needs pydantic-ai")
@pytest.mark.parametrize("with_ours", [False, True])
def test_an_agent_frameworks_own_spans_make_one_tree(with_ours, provider, stand_in, receiver, private):
    from pydantic_ai import Agent
    from pydantic_ai.models.instrumented import InstrumentationSettings
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    if with_ours:
        instrument(destinations=destinations(receiver, private))
    shared = {} if with_ours else {"destinations": destinations(receiver, private)}
    provider.add_span_processor(BroadcastSpanProcessor(**shared))
    Agent.instrument_all(InstrumentationSettings(tracer_provider=provider))
    try:
        model = OpenAIChatModel("gpt-4o-mini", provider=OpenAIProvider(base_url=stand_in.base_url, api_key="k"))
        agent = Agent(model, instructions="canary-system")

        @agent.tool_plain
        def look(x: str) -> str:
            return "canary-result"

        stand_in.script(
            completion(ANSWERED, usage=usage_of(9, 3)), completion(message("canary-end"), usage=usage_of(9, 3))
        )
        agent.run_sync("canary-prompt")
    finally:
        Agent.instrument_all(False)
    assert provider.force_flush(10_000)
    assert llm_otel_broadcast.flush(10)
    spans = {span.span_id: span for span in receiver.store.spans()}
    chats = [span for span in spans.values() if span.attributes.get("gen_ai.operation.name") == "chat"]
    assert len(chats) == 2
    assert {span.scope_name for span in chats} == {"llm_otel_broadcast" if with_ours else "pydantic-ai"}
    roots = [span for span in spans.values() if span.parent_span_id not in spans]
    assert len(roots) == 1
    assert not roots[0].parent_span_id
    assert [span for span in spans.values() if span.attributes.get("gen_ai.operation.name") == "execute_tool"]
    for word in ("system", "prompt", "answer", "argument", "result", "end"):
        assert f"canary-{word}" in sent(receiver), word
    assert len(private.store.spans()) == len(spans)
    assert "canary" not in sent(private)
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.skipif(not LITELLM, reason="needs litellm")
def test_the_raw_span_of_a_gateway_tells_a_private_destination_no_content(
    provider, stand_in, receiver, private, monkeypatch
):
    """It has the whole request and the whole answer, under names that differ by provider (`llm.openai.choices`)."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN")  # with it there is no raw span
    import litellm
    from litellm.integrations.opentelemetry import OpenTelemetry, OpenTelemetryConfig

    processor = BroadcastSpanProcessor(destinations=destinations(receiver, private), all_spans=True)
    provider.add_span_processor(processor)
    config = OpenTelemetryConfig(exporter=InMemorySpanExporter())
    monkeypatch.setattr(litellm, "callbacks", [OpenTelemetry(config=config, tracer_provider=provider)])
    stand_in.script(completion(ANSWERED, usage=usage_of(9, 3)))
    asked = {**ASKED, "model": f"openai/{ASKED['model']}", "num_retries": 0}
    litellm.completion(api_base=stand_in.base_url, api_key="k", **asked)
    # litellm calls back on a thread of its own
    until(lambda: provider.force_flush(10_000) and len(private.store.spans()) >= 2, timeout=30)
    assert "raw_gen_ai_request" in [span.name for span in private.store.spans()]
    assert len(private.store.spans()) == len(receiver.store.spans())
    for word in ("system", "prompt", "answer", "argument", "definition"):
        assert f"canary-{word}" in sent(receiver), word
    assert "canary" not in sent(private)
    assert "gpt-4o-mini" in sent(private)
    assert {books.name: bool(books.withheld) for books in processor.status()} == {"open": False, "private": True}
