"""Real calls and what each destination is sent of them: samples, keys, rules, and the spans round the calls."""

from __future__ import annotations

import hashlib
import inspect

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination, trace_context
from llm_otel_broadcast.delivery.selection import is_sampled
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.stand_in.answers import completion, error, message, usage_of
from tests.support.books import balanced
from tests.support.client_calls import KINDS, MESSAGES, chat
from tests.support.operations import OPERATIONS, call

KEY = "sk-canary-0123456789abcdef"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


@pytest.fixture
def two():
    """Two receivers, and a way to instrument with a destination to each."""
    with OtlpReceiver() as one, OtlpReceiver() as other:

        def start(first, second, **options):
            return llm_otel_broadcast.instrument(
                destinations=[
                    Destination(name="one", endpoint=one.endpoint, **first),
                    Destination(name="two", endpoint=other.endpoint, **second),
                ],
                **options,
            )

        yield start, one, other


def client_of(stand_in, **given):
    given = {"api_key": KEY, **given}
    http = openai.DefaultHttpxClient(verify=False)
    return openai.OpenAI(base_url=stand_in.base_url, max_retries=0, http_client=http, **given)


def ask(client, **asked):
    return client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, **asked)


def books():
    return {one.name: one for one in llm_otel_broadcast.status().destinations}


def test_a_session_is_kept_or_left_out_whole_and_the_books_balance(client, two):
    start, one, other = two
    handle = start({"sampling_rate": 0.5}, {"sampling_rate": 0.3})
    sessions = [f"session {number}" for number in range(12)]
    for turn in range(2):
        for session in sessions:
            ask(client, extra_body={"session_id": session, "trace": {"turn": turn}})
    assert handle.flush()
    for receiver, name, rate in ((one, "one", 0.5), (other, "two", 0.3)):
        kept = [span.attributes["session.id"] for span in receiver.store.spans()]
        assert sorted(kept) == sorted(2 * [session for session in sessions if is_sampled(name, session, rate)])
        assert balanced(books()[name])
        assert books()[name].left_out == {"sampled": 24 - len(kept)}
        assert books()[name].dropped == {}


def test_without_a_session_a_trace_is_kept_or_left_out_whole(client, two):
    start, one, _ = two
    handle = start({"sampling_rate": 0.5}, {})
    traces = [f"{number:032x}" for number in range(1, 13)]
    for trace in traces:
        for step in ("a", "b"):
            ask(client, extra_body={"trace": {"trace_id": trace, "trace_name": "Work", "generation_name": step}})
    assert handle.flush()
    kept = [span.trace_id for span in one.store.spans()]
    assert sorted(kept) == sorted(3 * [trace for trace in traces if is_sampled("one", trace, 0.5)])


def test_a_block_without_generations_is_sampled_like_one(two):
    start, one, _ = two
    handle = start({"sampling_rate": 0.5}, {})
    sessions = [f"session {number}" for number in range(16)]
    for session in sessions:
        with trace_context(trace_name="Work", session_id=session):
            pass
    assert handle.flush()
    kept = {span.attributes["session.id"] for span in one.store.spans()}
    assert kept == {session for session in sessions if is_sampled("one", session, 0.5)}
    assert balanced(books()["one"])


def test_failed_calls_arrive_whatever_the_rate_with_their_roots(stand_in, client, two):
    start, one, _ = two
    handle = start({"sampling_rate": 0.0001, "errors_always": True}, {})
    stand_in.script(completion(message("fine")), error(500, "no", code="broken"))
    ask(client, extra_body={"trace": {"trace_id": "t", "trace_name": "Work"}})
    with pytest.raises(openai.InternalServerError):
        ask(client, extra_body={"trace": {"trace_id": "t", "trace_name": "Work"}})
    assert handle.flush()
    root, failed = sorted(one.store.spans(), key=lambda span: span.name != "Work")
    assert (root.name, failed.attributes["error.type"]) == ("Work", "InternalServerError")


def test_the_root_of_calls_that_are_all_left_out_is_not_sent_either(client, two):
    start, one, other = two
    only = {"groups": [{"rules": [{"field": "model", "operator": "equals", "value": "o1"}]}]}
    handle = start({"filter_rules": only}, {})
    with trace_context(trace_name="Work"):
        ask(client)
    assert handle.flush()
    assert one.store.spans() == []
    assert len(other.store.spans()) == 2
    assert books()["one"].left_out == {"filtered": 1}
    assert balanced(books()["one"])


@pytest.mark.parametrize(
    ("asked", "arrives"),
    [
        ({"include": ["cdef"]}, True),
        ({"include": [DIGEST]}, True),
        ({"include": ["ffff"]}, False),
        ({"exclude": ["cdef"]}, False),
        ({"exclude": [DIGEST]}, False),
    ],
)
@pytest.mark.parametrize("kind", ["client", "header", "embeddings", "stream"])
def test_calls_are_chosen_by_the_api_key_they_are_made_with(stand_in, two, kind, asked, arrives):
    start, one, other = two
    handle = start({"api_keys": asked}, {})
    with client_of(stand_in, **({"api_key": "sk-another-one"} if kind == "header" else {})) as client:
        if kind == "embeddings":
            client.embeddings.create(**OPERATIONS["embeddings.create"])
        elif kind == "stream":
            list(ask(client, stream=True))
        else:
            ask(client, **({"extra_headers": {"Authorization": f"Bearer {KEY}"}} if kind == "header" else {}))
    assert handle.flush()
    assert len(one.store.spans()) == int(arrives)
    sent = b"".join(request.body for receiver in (one, other) for request in receiver.requests)
    assert sent
    assert KEY.encode() not in sent
    assert DIGEST.encode() not in sent


def test_a_key_that_the_client_asks_for_at_each_request_is_known_too(stand_in, two):
    start, one, _ = two
    if "Callable" not in str(inspect.signature(openai.OpenAI).parameters["api_key"].annotation):
        pytest.skip(f"openai {openai.__version__} takes no function for the key")
    handle = start({"api_keys": {"exclude": ["cdef"]}}, {})
    keys = iter([KEY, "sk-another-one", KEY])
    with client_of(stand_in, api_key=lambda: next(keys)) as client:
        for name in ("first", "second", "third"):
            ask(client, extra_body={"trace": {"generation_name": name}})
    assert handle.flush()
    assert [span.name for span in one.store.spans()] == ["second"]


def rule(field, operator, value=None):
    return {"groups": [{"rules": [{"field": field, "operator": operator, "value": value}]}]}


@pytest.mark.parametrize(
    ("rules", "arrives"),
    [
        (rule("model", "starts_with", "gpt"), True),
        (rule("model", "equals", "o1"), False),
        (rule("provider", "exists", "x"), True),
        (rule("session_id", "equals", "s1"), True),
        (rule("session_id", "not_equals", "s1"), False),
        (rule("user_id", "ends_with", "@example.com"), True),
        (rule("api_key_name", "equals", "production"), True),
        (rule("finish_reason", "equals", "stop"), True),
        (rule("input", "contains", 'say "cheese"'), True),
        (rule("input", "starts_with", "Be brief"), True),
        (rule("input", "contains", "bread"), False),
        (rule("output", "regex", "^Cheese$"), True),
        (rule("output", "not_exists", "x"), False),
        (rule("total_cost", "gt", 0), True),
        (rule("prompt_tokens", "gte", 1), True),
        (rule("completion_tokens", "lt", 1_000_000), True),
        (rule("total_tokens", "gt", 1_000_000), False),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_rules_look_at_what_a_private_destination_is_not_sent(stand_in, two, kind, rules, arrives):
    """Filters come before privacy: content is looked at here, and goes nowhere."""
    start, one, other = two
    handle = start({"filter_rules": rules, "privacy_mode": True}, {"privacy_mode": True})
    stand_in.script(completion(message("Cheese"), usage=usage_of(10, 5, model="openai/gpt-4o")))
    chat(
        kind,
        stand_in.base_url,
        messages=[{"role": "system", "content": "Be brief"}, {"role": "user", "content": 'Please say "cheese"'}],
        user="ann@example.com",
        extra_body={"session_id": "s1", "trace": {"api_key_name": "production"}},
    )
    assert handle.flush()
    assert len(one.store.spans()) == int(arrives)
    assert len(other.store.spans()) == 1
    assert b"heese" not in b"".join(request.body for each in (one, other) for request in each.requests)


@pytest.mark.parametrize(
    ("hosts", "arrives"),
    [
        (["127.0.0.1"], True),
        (["127.0.0.*", "eu.openrouter.ai"], True),
        (["eu.openrouter.ai"], False),
    ],
)
def test_only_calls_to_its_hosts_and_what_is_above_them_reach_a_destination(client, two, hosts, arrives):
    start, first, second = two
    handle = start({}, {"hosts": hosts})
    with trace_context(trace_name="turn"):
        ask(client)
    with trace_context(trace_name="nothing was asked"):
        pass
    assert handle.flush()
    assert "turn" in {span.name for span in first.store.spans()}
    assert {span.name for span in second.store.spans()} == ({"turn", "chat gpt-4o-mini"} if arrives else set())
    assert books()["two"].left_out.get("host", 0) == (0 if arrives else 1)
    assert all(balanced(one) for one in books().values())


def test_a_host_is_compared_without_case_and_without_its_last_dot():
    destination = Destination(endpoint="http://backend.example", hosts=["EU.OpenRouter.ai."])
    assert destination.hosts == ("eu.openrouter.ai",)


@pytest.mark.parametrize(("mine", "characters"), [(300, 300), (5_000, 1_000), (None, 1_000)])
def test_a_destination_may_have_shorter_content_than_the_others(client, two, mine, characters):
    start, first, second = two
    handle = start({}, {"max_content_chars": mine}, max_content_chars=1_000)
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "x" * 3_000}])
    assert handle.flush()
    (whole,), (shorter,) = first.store.spans(), second.store.spans()
    lengths = [len(span.attributes["gen_ai.input.messages"]) for span in (whole, shorter)]
    assert lengths[0] <= 1_000
    assert characters - 50 < lengths[1] <= characters


def test_rules_on_content_find_nothing_where_none_is_kept(client, two):
    start, one, other = two
    handle = start({"filter_rules": rule("input", "exists")}, {}, capture_content=False)
    ask(client)
    assert handle.flush()
    assert (len(one.store.spans()), len(other.store.spans())) == (0, 1)


def test_what_is_left_out_of_one_destination_still_counts_in_the_totals_of_another(client, two):
    start, one, other = two
    handle = start({"filter_rules": rule("session_id", "equals", "a")}, {})
    with trace_context(trace_name="Work"):
        ask(client, extra_body={"session_id": "a"})
        ask(client, extra_body={"session_id": "b"})
    assert handle.flush()
    totals = [
        span.attributes["trace.totals.calls"]
        for each in (one, other)
        for span in each.store.spans()
        if span.name == "Work"
    ]
    assert totals == [2, 2]


@pytest.mark.parametrize("operation", ["completions.create", "moderations.create"])
def test_other_operations_are_chosen_alike(stand_in, two, operation):
    start, one, other = two
    handle = start({"filter_rules": rule("input", "contains", "zebra")}, {})
    word = {"completions.create": {"prompt": "a zebra"}, "moderations.create": {"input": "a zebra"}}[operation]
    call("sync", stand_in.base_url, operation, **word)
    call("sync", stand_in.base_url, operation)
    assert handle.flush()
    assert (len(one.store.spans()), len(other.store.spans())) == (1, 2)
