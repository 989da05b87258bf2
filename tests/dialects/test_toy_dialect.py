"""A dialect that a test registers: it is chosen like any other, and is never given what its destination may not have.

The dialect notes all that can be reached from its arguments, and a text that is nowhere in there cannot be leaked by it.
"""

from __future__ import annotations

import gc
import hashlib

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import ConfigError, Destination, trace_context
from llm_otel_broadcast.dialects import DIALECTS, register
from llm_otel_broadcast.dialects.dialect import Dialect
from llm_otel_broadcast.record.dialect_names import DIALECT_NAMES
from llm_otel_broadcast.record.span_data import KIND_CLIENT, KIND_INTERNAL, Origin, Scope, SpanData
from llm_otel_broadcast.stand_in.answers import completion, error, message, stream

PLAIN = (str, bytes, int, float, bool, type(None), dict, list, tuple, frozenset)
REQUEST = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "system", "content": "canary-system"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "canary-prompt at https://canary-link.example/a"},
                {"type": "image_url", "image_url": {"url": "https://canary-image.example/a.png"}},
            ],
        },
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "canary-definition", "parameters": {}}}],
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "form", "schema": {"description": "canary-schema", "type": "object"}},
    },
    "user": "canary-user",
}
ANSWER = message("canary-answer", reasoning="canary-reasoning", tool_calls=[("c1", "f", '{"y": "canary-argument"}')])
CONTENT = {
    "canary-system",
    "canary-prompt",
    "canary-link",
    "canary-image",
    "canary-definition",
    "canary-answer",
    "canary-reasoning",
    "canary-argument",
}
HIDDEN = {
    "inputs": {"canary-system", "canary-prompt", "canary-link", "canary-image"},
    "outputs": {"canary-answer", "canary-reasoning", "canary-argument"},
    "system": {"canary-system"},
    "tools": {"canary-definition"},
    "tool_arguments": {"canary-argument"},
    "images": {"canary-image"},
    "urls": {"canary-link", "canary-image"},
    "reasoning": {"canary-reasoning"},
}


def reachable(*roots):
    """Return all objects that can be reached from these, classes and what belongs to them left out."""
    objects, pending = {}, list(roots)
    while pending:
        reached = pending.pop()
        if isinstance(reached, type) or id(reached) in objects:
            continue
        objects[id(reached)] = reached
        pending += gc.get_referents(reached)
    return list(objects.values())


class ToyDialect(Dialect):
    """One attribute a span, and no others. `arguments` are all that it was ever given."""

    def __init__(self):
        self.arguments = []

    def generation_span(self, facts, content, cost):
        self.arguments += [facts, content, cost]
        return SpanData(
            name=f"toy {facts.request_model}",
            trace_id=facts.trace_id,
            span_id=facts.span_id,
            parent_span_id=facts.parent_span_id,
            kind=KIND_CLIENT,
            start_ns=facts.start_ns,
            end_ns=facts.end_ns,
            attributes={"toy.outputs": repr(content.outputs) if content is not None else "none"},
            origin=Origin(Scope("9", "toy"), {"toy.resource": True}),
        )


class TallToyDialect(ToyDialect):
    """Has spans round generations, too."""

    def enclosing_span(self, facts, content):
        self.arguments += [facts, content]
        ids = (facts.trace_id, facts.span_id, facts.parent_span_id)
        return SpanData(f"toy {facts.name}", *ids, KIND_INTERNAL, facts.start_ns, facts.end_ns, {})


@pytest.fixture(params=[ToyDialect])
def toy(request):
    dialect = request.param()
    register("toy", "the tests", lambda: dialect)
    yield dialect
    del DIALECTS["toy"], DIALECT_NAMES["toy"]


@pytest.fixture
def call(stand_in, client, receiver, toy):
    """Make a call with a toy destination of the test's settings; return the canaries that the dialect could reach."""

    def run(*, streamed=False, reply=None, fields=None, **settings):
        handle = llm_otel_broadcast.instrument(
            destinations=[Destination(endpoint=receiver.endpoint, dialect="toy", **settings)]
        )
        stand_in.script(reply or (stream if streamed else completion)(ANSWER))
        with trace_context(trace_name="t", **(fields or {})):
            try:
                outcome = client.chat.completions.create(**REQUEST, stream=streamed)
                list(outcome if streamed else ())
            except openai.OpenAIError:
                pass
        assert handle.flush()
        assert not any(status.dropped for status in llm_otel_broadcast.status().destinations)
        return canaries(toy)

    return run


def canaries(toy):
    texts = [text for text in reachable(*toy.arguments) if isinstance(text, str)]
    return {
        canary
        for canary in (*CONTENT, "canary-user", "canary-schema", "canary-error", "canary-secret")
        if any(canary in text for text in texts)
    }


def test_a_destination_is_sent_what_its_dialect_makes_and_nothing_else(call, receiver):
    call()
    (span,) = receiver.store.spans()
    assert span.name == "toy gpt-4o-mini"
    assert list(span.attributes) == ["toy.outputs"]
    assert "canary-answer" in span.attributes["toy.outputs"]


@pytest.mark.parametrize("toy", [TallToyDialect], indirect=True)
def test_a_dialect_may_have_spans_round_the_generations(call, receiver):
    call()
    assert sorted(span.name for span in receiver.store.spans()) == ["toy gpt-4o-mini", "toy t"]


def test_a_dialect_may_name_a_scope_and_a_resource_of_its_own(call, receiver):
    call()
    (span,) = receiver.store.spans()
    assert span.scope_name == "toy"
    assert span.resource["toy.resource"] is True


@pytest.mark.parametrize("streamed", [False, True])
def test_a_destination_that_may_have_all_gives_its_dialect_all_content(call, streamed):
    assert call(streamed=streamed) == CONTENT | {"canary-user"}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_private_destination_gives_its_dialect_no_content(call, streamed):
    assert call(streamed=streamed, privacy_mode=True) == {"canary-user"}


def test_a_private_call_gives_the_dialect_no_content(call):
    assert call(fields={"privacy": True}) == {"canary-user"}


@pytest.mark.parametrize("part", HIDDEN)
def test_what_is_hidden_is_not_given_to_the_dialect(call, part):
    assert call(hide={part}) == (CONTENT | {"canary-user"}) - HIDDEN[part]


def test_the_dialect_is_given_redacted_texts_only(call):
    assert call(redact=lambda text: text.replace("canary", "*")) == {"canary-user"}


def test_where_redacting_fails_the_dialect_is_given_no_content(call, monkeypatch):
    monkeypatch.setattr(llm_otel_broadcast.host.guard, "raise_again", False)
    assert call(redact=lambda _: 1 / 0) == {"canary-user"}


def test_an_error_text_is_not_given_to_a_dialect_that_may_have_no_content(call):
    assert call(reply=error(400, "canary-error"), privacy_mode=True) == {"canary-user"}


def test_an_error_text_is_given_to_a_dialect_that_may_have_content(call):
    assert "canary-error" in call(reply=error(400, "canary-error"))


@pytest.mark.parametrize("toy", [TallToyDialect], indirect=True)
def test_the_text_of_an_exception_that_leaves_a_block_is_given_only_where_content_may_go(toy, receiver):
    for privacy_mode, canary in ((True, set()), (False, {"canary-error"})):
        handle = llm_otel_broadcast.instrument(
            destinations=[Destination(endpoint=receiver.endpoint, dialect="toy", privacy_mode=privacy_mode)]
        )
        with pytest.raises(ValueError, match="canary-error"), trace_context(trace_name="t"):
            raise ValueError("canary-error")
        assert handle.flush()
        assert toy.arguments
        assert canaries(toy) == canary


def test_the_dialect_is_given_a_digest_of_the_user_where_users_are_hashed(call, toy):
    assert "canary-user" not in call(hash_user=True)
    assert toy.arguments[0].fields.user == hashlib.sha256(b"canary-user").hexdigest()


@pytest.mark.parametrize("toy", [ToyDialect, TallToyDialect], indirect=True)
@pytest.mark.parametrize("settings", [{"metadata_deny": ["secret*"]}, {"metadata_allow": ["team"]}])
def test_metadata_that_a_destination_may_not_have_is_not_given_to_its_dialect(call, toy, settings):
    assert "canary-secret" not in call(fields={"secret_name": "canary-secret", "team": "red"}, **settings)
    assert dict(toy.arguments[0].fields.metadata) == {"team": "red"}


def test_the_dialect_is_given_content_of_the_length_that_is_sent(stand_in, client, receiver, toy):
    handle = llm_otel_broadcast.instrument(
        destinations=[Destination(endpoint=receiver.endpoint, dialect="toy")], max_content_chars=1_000
    )
    stand_in.script(completion(message("x" * 5_000)))
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "y" * 5_000}])
    assert handle.flush()
    _, content, _ = toy.arguments
    assert content.shortened == {"inputs", "outputs"}
    assert max(len(text) for text in reachable(content) if isinstance(text, str)) < 1_000


def test_all_that_a_dialect_is_given_are_plain_values(call, toy):
    call()
    strange = {
        type(reached).__name__
        for reached in reachable(*toy.arguments)
        if not isinstance(reached, PLAIN) and not type(reached).__module__.startswith("llm_otel_broadcast.record.")
    }
    assert strange == set()


def test_a_dialect_that_fails_loses_only_that_record(stand_in, client, receiver, toy):
    class BrokenDialect(ToyDialect):
        def generation_span(self, facts, content, cost):
            raise LookupError(facts.operation)

    register("toy", "the tests", BrokenDialect)
    handle = llm_otel_broadcast.instrument(
        destinations=[
            Destination(name="broken", endpoint=receiver.endpoint, dialect="toy"),
            Destination(name="whole", endpoint=receiver.endpoint),
        ]
    )
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
    handle.flush()
    broken, whole = llm_otel_broadcast.status().destinations
    assert broken.dropped == {"unreadable": 1}
    assert whole.delivered == 1


def test_a_registered_dialect_is_one_of_the_choices(toy):
    assert Destination(endpoint="http://127.0.0.1:4318", dialect="toy").dialect == "toy"
    with pytest.raises(ConfigError, match=r'dialect must be "semconv", .*"toy", got \'other\''):
        Destination(endpoint="http://127.0.0.1:4318", dialect="other")


def test_settings_offer_the_dialects_that_there_are():
    assert list(DIALECT_NAMES) == list(DIALECTS)
    assert next(iter(DIALECTS)) == "semconv"
