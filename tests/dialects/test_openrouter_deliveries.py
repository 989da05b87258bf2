"""The `openrouter` dialect against real deliveries of OpenRouter's Broadcast: the same call leads to the same attributes.

Key, order, type and value. What is compared otherwise, or not, is named here with the reason.
"""

from __future__ import annotations

import json
from contextlib import suppress

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.connection.check import test_connection as check_connection
from llm_otel_broadcast.stand_in.answers import Answer, to_json
from tests.dialects.deliveries import answer_of, arguments_of, delivery

SERVICE = "trace.metadata.openrouter."
BROADCAST = (
    "bb-claude-haiku-4.5",
    "bb-deepseek-v4-flash",
    "bb-gpt-5.4-mini",
    "bb-qwen3-coder-next",
    "tp-claude-code-1",
    "tp-claude-code-5-tail",
    "tp-codex-1",
    "tp-codex-6-tail",
    "tp-codex-error",
    "tp-opencode-9-tail",
    "tp-pi-1",
    "tp-pi-8-tail",
)
UNKNOWN_TO_CLIENTS = {
    # the account
    f"{SERVICE}api_key_name",
    f"{SERVICE}entity_id",
    f"{SERVICE}creator_user_id",
    # routing: a client sees none
    f"{SERVICE}router_latency_ms",
    f"{SERVICE}provider_request_ms",
    f"{SERVICE}provider_headers_ms",
    f"{SERVICE}provider_time_to_first_token_ms",
    f"{SERVICE}provider_slug",
    # prices by token: not in an answer, and with caches not to be derived from costs
    f"{SERVICE}input_unit_price",
    f"{SERVICE}output_unit_price",
    # the provider's split: not in a chat completion
    "gen_ai.usage.input_tokens.cache_write_5m",
    "gen_ai.usage.input_tokens.cache_write_1h",
}
TIMES = {f"{SERVICE}first_token_ms", f"{SERVICE}provider_body_end_ms", f"{SERVICE}inter_token_latency_ms"}
"""Compared by key and type: the replay takes its own time."""
NOT_EXCERPTED = {
    *(f"gen_ai.usage.{kind}_tokens" for kind in ("input", "output", "total")),
    *(f"gen_ai.usage.{kind}_cost" for kind in ("input", "output", "total")),
    "gen_ai.prompt",
}
"""What the excerpts marked as partial do not show."""
PROVIDER_RESPONSES = ("trace.metadata.provider_responses", "span.metadata.provider_responses")


@pytest.fixture
def sent(openrouter, stand_in, receiver):
    """Make a call, and return the spans that are sent of it."""

    def run(arguments, answer, *, closes=False, responses=False, **settings):
        destination = Destination(endpoint=receiver.endpoint, batch_delay=0, dialect="openrouter", **settings)
        handle = llm_otel_broadcast.instrument(destinations=[destination])
        stand_in.script(answer)
        create = (openrouter.responses if responses else openrouter.chat.completions).create
        with suppress(openai.APIStatusError):
            outcome = create(**arguments)
            if closes:
                next(iter(outcome))
                outcome.close()
            elif arguments.get("stream"):
                list(outcome)
        assert handle.flush(10)
        return receiver.store.spans()

    return run


def answer_in(text):
    """Return a completion without what is not compared.

    `rawRequest`: OpenRouter's normalized request, whose values the excerpts leave out. `tools`: taken out of the excerpts.
    """
    completion = json.loads(text)
    return {name: value for name, value in completion.items() if name not in ("rawRequest", "tools")}


def comparable(attributes, real):
    """Return attributes as a list of key, type and value."""
    compared = []
    for key, value in attributes.items():
        if key in UNKNOWN_TO_CLIENTS or (real.is_partial and key in NOT_EXCERPTED):
            continue
        # The excerpts have the content once, but for one.
        if key in ("span.input", "span.output") and key not in real.root:
            continue
        # A gateway for Claude Code's API states two users.
        if key == f"{SERVICE}user_id" and "claude-code" in real.name:
            continue
        shown = value
        if key in TIMES:
            shown = None
        elif key in PROVIDER_RESPONSES:
            shown = [(each["provider_name"], each["status"]) for each in json.loads(value)]
        elif key in ("gen_ai.completion", "span.output"):
            shown = list(answer_in(value).items())
        elif key in ("gen_ai.prompt", "span.input"):
            shown = prompt_of(value)
        compared.append((key, type(value), shown))
    return compared


def prompt_of(text):
    """Return a prompt without encrypted reasoning and ids of items, which are of use to the provider alone."""
    kept = json.loads(text)
    for message in kept["messages"]:
        for name in ("reasoning_details", "responses_item_order", "responses_item_id"):
            message.pop(name, None)
    return json.dumps(kept)


@pytest.mark.parametrize("name", BROADCAST)
def test_the_same_call_leads_to_the_same_attributes(name, sent):
    real = delivery(name)
    root, *_ = sent(
        arguments_of(real),
        answer_of(real),
        closes=real.is_broken_off,
        responses=real.is_of_responses,
        privacy_mode=not real.has_content,
    )
    assert comparable(root.attributes, real) == comparable(real.root, real)


@pytest.mark.parametrize("name", BROADCAST)
def test_the_same_call_leads_to_the_same_span(name, sent):
    real = delivery(name)
    spans = sent(
        arguments_of(real),
        answer_of(real),
        closes=real.is_broken_off,
        responses=real.is_of_responses,
        ids="openrouter",
    )
    root, expected = spans[0], real.spans[0]
    assert (root.name, root.kind, root.trace_id, root.span_id) == (
        expected["name"],
        expected["kind"],
        expected["traceId"],
        expected["spanId"],
    )
    assert (root.parent_span_id, root.status_code, root.status_message) == (
        "",
        expected["status"]["code"],
        expected["status"].get("message", ""),
    )
    # Milliseconds.
    assert (root.start_ns % 1_000_000, root.end_ns % 1_000_000) == (0, 0)
    # A webhook is not told the version.
    assert root.resource == {**real.resource, "service.version": "1.0.0"}
    assert (root.scope_name, root.scope_version) == ("openrouter", "")
    # `generation` below a stream is not sent: it ends after its parent, and counts as another generation.
    attempts = [span for span in real.spans[1:] if span["name"] != "generation"]
    assert [(span.name, span.kind, span.span_id, span.parent_span_id, span.status_code) for span in spans[1:]] == [
        (span["name"], span["kind"], span["spanId"], span["parentSpanId"], span["status"]["code"]) for span in attempts
    ]


def test_a_call_whose_caller_left_has_the_same_event(sent):
    real = delivery("tp-codex-error")
    root, *_ = sent(arguments_of(real), answer_of(real), closes=True, responses=True)
    (event_,) = root.events
    assert (event_.name, event_.time_ns, event_.attributes) == (
        "exception",
        root.end_ns,
        {"exception.type": "Error", "exception.message": "The client has disconnected"},
    )


LANGFUSE_NAMES = {
    "trace.name": "langfuse.trace.name",
    "user.id": "langfuse.user.id",
    "session.id": "langfuse.session.id",
    "span.type": "langfuse.observation.type",
    "span.level": "langfuse.observation.level",
}


@pytest.mark.parametrize("name", ["sr-d1", "sr-d2"])
def test_a_recorded_request_and_answer_lead_to_what_langfuse_received(name, sent):
    probe = delivery(name).document
    request, observation = dict(probe["request"]), probe["observations"][0]
    (root,) = sent(
        {
            "model": request.pop("model"),
            "messages": request.pop("messages"),
            "max_tokens": request.pop("max_tokens"),
            "extra_body": request,
        },
        Answer(body=to_json(probe["response"])),
        ids="openrouter",
    )
    assert (root.trace_id, root.span_id, root.parent_span_id or None, root.name) == (
        probe["trace_id"],
        observation["id"],
        observation["parent"],
        observation["name"],
    )
    assert root.resource == {**observation["resource"], "service.version": "1.0.0"}
    # Since then a cache write of nothing is stated as well.
    newer = {"gen_ai.usage.input_tokens.cache_write"}
    shown = {key: value for key, value in root.attributes.items() if key.startswith("gen_ai.") and key not in newer}
    texts = {key: json.loads(shown.pop(key)) for key in ("gen_ai.prompt", "gen_ai.completion")}
    received = observation["attributes"]
    # Langfuse's own addition.
    assert shown == {
        key: value for key, value in received.items() if key.startswith("gen_ai.") and key != "gen_ai.usage.cost"
    }
    assert {key: type(value) for key, value in shown.items()} == {
        key: float if key.endswith("_cost") else type(received[key]) for key in shown
    }
    named = {langfuse: root.attributes.get(key) for key, langfuse in LANGFUSE_NAMES.items()}
    assert named == {langfuse: received.get(langfuse) for langfuse in named}
    assert texts["gen_ai.prompt"] == observation["input"]
    # A member of the body that no client knows, and no record.
    observation["output"]["rawRequest"].pop("tags", None)
    assert texts["gen_ai.completion"] == observation["output"]
    order = [name for name in observation["output"]["rawRequest"] if name != "tags"]
    assert list(texts["gen_ai.completion"]["rawRequest"]) == order
    metadata = {key: value for key, value in observation["metadata"].items() if key != "provider_responses"}
    for prefix in ("trace.metadata.", "span.metadata."):
        own = {
            key.removeprefix(prefix): value
            for key, value in root.attributes.items()
            if key.startswith(prefix) and not key.startswith(SERVICE)
        }
        assert own == {
            key: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            for key, value in metadata.items()
        }
    service = {f"trace.metadata.{key}": value for key, value in observation["trace_metadata"].items()}
    for key in root.attributes.keys() & service.keys():
        assert root.attributes[key] == service[key]
    # The times of an answer that does not stream: a client cannot know when its first token was made.
    missing = service.keys() - root.attributes.keys() - UNKNOWN_TO_CLIENTS
    assert missing <= {f"{SERVICE}first_token_ms", f"{SERVICE}provider_body_end_ms"}


@pytest.mark.parametrize("name", ["sr-a", "sr-b", "sr-c"])
def test_a_request_without_a_trace_has_the_ids_of_its_generation(name, sent):
    probe = delivery(name).document
    request = {**probe["request"], "extra_headers": probe.get("headers") or {}}
    (root,) = sent(request, Answer(body=to_json(probe["response"])), ids="openrouter")
    assert root.trace_id == probe["trace_id"]
    assert root.trace_id.startswith(root.span_id)


def test_a_refused_request_is_sent_although_broadcast_has_no_trace_of_it(sent):
    probe = delivery("sr-e").document
    request = dict(probe["request"])
    arguments = {name: request.pop(name) for name in ("model", "messages", "max_tokens")}
    (root,) = sent({**arguments, "extra_body": request}, Answer(probe["http_status"], to_json(probe["response"])))
    assert root.status_code == 2
    assert root.attributes["span.level"] == "ERROR"
    assert "is not a valid model ID" in root.attributes["span.status_message"]
    assert json.loads(root.attributes["gen_ai.completion"])["completion"] is None
    assert not [key for key in root.attributes if key.startswith("gen_ai.usage.")]


def test_a_connection_is_tested_with_broadcasts_own_span(receiver):
    real = delivery("tp-connection-test")
    assert check_connection(Destination(endpoint=receiver.endpoint, dialect="openrouter")).ok
    (span,) = receiver.store.spans()
    (expected,) = real.spans
    assert (span.name, span.kind, span.trace_id, span.span_id, span.status_code, span.attributes) == (
        expected["name"],
        expected["kind"],
        expected["traceId"],
        expected["spanId"],
        expected["status"]["code"],
        {},
    )
    assert span.end_ns - span.start_ns == 1_000_000
    assert span.resource == real.resource
