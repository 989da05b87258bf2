"""The table of codes as measured on real backends: what each means, and what is offered."""

from __future__ import annotations

import json

import pytest

from llm_otel_broadcast import Destination, send_test_trace
from llm_otel_broadcast import test_connection as try_connection
from llm_otel_broadcast.receiver.server import Reply
from tests.support.scripted_backends import Backend, serving

PHOENIX = Backend(json=415, elsewhere=405, says="Unsupported content type")
COLLECTOR = Backend()
MLFLOW = Backend(wants={"x-mlflow-experiment-id": "0"}, without=422, says="x-mlflow-experiment-id is required")
TEMPO = Backend(wants={"x-scope-orgid": "me"}, without=503, says="no org id")
LIGHTTRACE = Backend(wants={"authorization": "Bearer right"}, gzip=200)
TRACE_VIEW = Backend(gzip=400)
VICTORIA = Backend(json=400, elsewhere=400, says="unsupported path")
PORTAL = Backend(path="/never", elsewhere=200, page=True)
KEY = {"Authorization": "Bearer right"}


@pytest.mark.parametrize(
    ("backend", "settings", "said"),
    [
        (COLLECTOR, {}, "200, taken as JSON"),
        (COLLECTOR, {"encoding": "protobuf"}, "200, taken as protobuf"),
        (COLLECTOR, {"compression": "gzip"}, "200, taken as JSON, gzip"),
        (PHOENIX, {}, "200, taken as protobuf (JSON was refused)"),
        (MLFLOW, {"headers": {"x-mlflow-experiment-id": "0"}}, "200, taken as JSON"),
        (TEMPO, {"headers": {"X-Scope-OrgID": "me"}}, "200, taken as JSON"),
        (LIGHTTRACE, {"headers": KEY}, "200, taken as JSON"),
        (Backend(answers='{"partialSuccess":null}'), {}, "200, taken as JSON"),
        (Backend(answers='{"spans_written":1}'), {}, "200, taken as JSON"),
        (Backend(answers="thanks"), {}, "200, taken as JSON"),
        (Backend(answers='{"partialSuccess":{"errorMessage":"clock skew"}}'), {}, 'it warns: "clock skew"'),
    ],
)
def test_a_backend_that_takes_the_span_passes(backend, settings, said):
    with serving(backend) as server:
        report = try_connection(Destination(endpoint=server.endpoint, **settings))
    assert report.ok
    assert said in report.message
    assert said in report.steps[-1].detail


@pytest.mark.parametrize(
    ("backend", "settings", "said", "suggestion"),
    [
        (PHOENIX, {"encoding": "json"}, "415 Unsupported Media Type: it does not take JSON", {"encoding": "protobuf"}),
        (VICTORIA, {}, "400 Bad Request: it understood the address", {"encoding": "protobuf"}),
        (Backend(protobuf=415), {"encoding": "protobuf"}, "does not take protobuf", {"encoding": "json"}),
        (TRACE_VIEW, {"compression": "gzip"}, "400 Bad Request", {"compression": "none"}),
        (MLFLOW, {}, 'a header is missing or wrong: the preset "mlflow" sets x-mlflow-experiment-id; it says:', {}),
        (MLFLOW, {"headers": {"X-MLflow-Experiment-Id": "7"}}, "a header is missing or wrong; it says:", {}),
        (
            Backend(wants={"x-mlflow-experiment-id": "0"}, without=404, says="No Experiment with id=7 exists"),
            {"headers": {"x-mlflow-experiment-id": "7"}},
            'and does what the headers name exist (x-mlflow-experiment-id)?; it says: "No Experiment with id=7 exists"',
            {},
        ),
        (TEMPO, {}, '503 Service Unavailable: it does not work at the moment, or a header is missing; it says: "no org id"', {}),
        (LIGHTTRACE, {}, "401 Unauthorized: it wants an API key, and no header was given", {}),
        (LIGHTTRACE, {"headers": {"Authorization": "right"}}, 'want "Bearer " in front', {}),
        (LIGHTTRACE, {"headers": {"x-api-key": "wrong"}}, "the API key is wrong: check x-api-key", {}),
        (Backend(wants=KEY, without=403), {"headers": {"x": "y"}}, "403 Forbidden: the API key is wrong, or", {}),
        (Backend(json=413, protobuf=413), {}, "413", {}),
        (Backend(json=429, protobuf=429), {}, "429 Too Many Requests: too many requests at the moment", {}),
        (Backend(json=500, protobuf=500), {}, "500 Internal Server Error: an error inside it", {}),
        (PORTAL, {}, '200 OK: a web page, not an OTLP path: it usually ends in /v1/traces; it says: "Please log in"', {}),
        (
            Backend(answers='{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}'),
            {},
            '200, but the span was rejected; it says: "too old"',
            {},
        ),
    ],
)  # fmt: skip
def test_a_refusal_is_explained_and_what_helps_is_offered(backend, settings, said, suggestion):
    with serving(backend) as server:
        report = try_connection(Destination(endpoint=server.endpoint, **settings))
    assert not report.ok
    assert said in report.message
    assert report.suggestion == suggestion
    assert not next(step for step in report.steps if step.name == "probe").ok


@pytest.mark.parametrize("backend", [COLLECTOR, PHOENIX, VICTORIA, Backend(elsewhere=405, page=True)])
@pytest.mark.parametrize("path", ["/otlp", "/v1", "/v1/traces/", "/v1/traces/v1/traces", "/v1/logs"])
def test_for_a_wrong_path_the_usual_one_is_tried_and_offered(backend, path):
    """P47: base URL versus full URL is what goes wrong most."""
    with serving(backend) as server:
        report = try_connection(Destination(endpoint=server.root + path))
        assert not report.ok
        assert report.suggestion["endpoint"] == server.endpoint
        again = try_connection(Destination(**{"endpoint": server.endpoint, **report.suggestion}))
    assert again.ok


def test_the_path_below_which_a_backend_lives_is_kept():
    with serving(Backend(path="/api/public/otel/v1/traces")) as server:
        report = try_connection(Destination(endpoint=f"{server.root}/api/public/otel"))
    assert report.suggestion == {"endpoint": f"{server.root}/api/public/otel/v1/traces"}


def test_a_path_at_which_the_key_is_asked_for_is_offered_too():
    with serving(LIGHTTRACE) as server:
        report = try_connection(Destination(endpoint=f"{server.root}/otlp"))
    assert report.suggestion == {"endpoint": server.endpoint}


def test_a_path_and_an_encoding_that_are_both_wrong_are_found_together():
    with serving(PHOENIX) as server:
        report = try_connection(Destination(endpoint=f"{server.root}/otlp", encoding="json"))
    assert report.suggestion == {"endpoint": server.endpoint, "encoding": "protobuf"}


def test_a_refused_json_that_auto_gets_over_is_still_told():
    with serving(PHOENIX) as server:
        report = try_connection(Destination(endpoint=server.endpoint))
    assert report.ok
    assert report.suggestion == {"encoding": "protobuf"}


def test_a_redirect_on_the_same_host_is_tried_and_offered():
    with serving() as there, serving(Backend(redirects=there.endpoint)) as here:
        report = try_connection(Destination(endpoint=here.endpoint))
    assert not report.ok
    assert "308 Permanent Redirect: it points to" in report.message
    assert report.suggestion == {"endpoint": there.endpoint}


def test_a_redirect_to_another_host_is_offered_but_nothing_is_sent_there():
    with serving() as there:
        elsewhere = there.endpoint.replace("127.0.0.1", "localhost")
        with serving(Backend(redirects=elsewhere)) as here:
            report = try_connection(Destination(endpoint=here.endpoint, headers=KEY))
        assert there.requests == []
    assert not report.ok
    assert report.suggestion == {"endpoint": elsewhere}


def test_a_redirect_to_a_login_is_no_suggestion():
    with serving(Backend(redirects="/login?next=secret")) as here:
        report = try_connection(Destination(endpoint=here.endpoint))
    assert report.suggestion == {}
    assert f"it points to {here.root}/login," in report.message
    assert "secret" not in report.message


def test_the_probe_is_one_marked_span_with_ids_of_its_own(receiver):
    first, second = (try_connection(Destination(endpoint=receiver.endpoint)) for _ in range(2))
    spans = receiver.store.spans()
    assert [span.trace_id for span in spans] == [first.trace_id, second.trace_id]
    assert len({span.trace_id for span in spans} | {span.span_id for span in spans}) == 4
    for span in spans:
        assert span.attributes == {"test": True}
        assert span.name == "llm-otel-broadcast connection test"


def test_no_word_of_a_key_is_in_a_report_whatever_the_server_repeats():
    backend = Backend(wants={"x-api-key": "other"}, says="no such key canary-123 in Bearer canary-456")
    with serving(backend) as server:
        endpoint = f"{server.endpoint.replace('//', '//user:canary-789@')}?key=canary-000"
        headers = {"x-api-key": "canary-123", "x-other": "Bearer canary-456"}
        report = try_connection(Destination(endpoint=endpoint, headers=headers))
    assert not report.ok
    assert "canary" not in repr(report)
    assert "no such key *** in" in report.message


def test_each_step_is_told_as_soon_as_it_is_done():
    told = []
    with serving() as server:
        report = try_connection(Destination(endpoint=server.endpoint), on_step=told.append)
    assert tuple(told) == report.steps
    assert [step.name for step in told] == ["URL", "connect", "probe"]
    assert all(0 <= step.seconds < 5 for step in told)


def test_a_server_that_asks_to_wait_is_quoted(receiver):
    receiver.script(Reply(429, {"Retry-After": "5"}))
    report = try_connection(Destination(endpoint=receiver.endpoint))
    assert "too many requests at the moment: try again later, in 5 s as it says" in report.message


def test_an_error_in_protobuf_is_read(receiver):
    report = try_connection(Destination(endpoint=f"{receiver.endpoint}/x", encoding="protobuf"))
    assert 'it says: "only /v1/traces is served"' in report.message


def test_a_disabled_destination_can_be_tested():
    with serving() as server:
        assert try_connection(Destination(endpoint=server.endpoint, enabled=False)).ok


def test_what_is_no_destination_is_said_not_raised():
    report = try_connection("http://localhost:4318")
    assert not report.ok
    assert report.message == "destination must be a Destination, got str"


def test_a_test_sends_what_real_traffic_sends():
    with serving(PHOENIX) as server:
        try_connection(Destination(endpoint=server.endpoint, headers={"X-Team": "red"}, compression="gzip"))
        first, second = server.requests
    assert first.headers["x-team"] == second.headers["x-team"] == "red"
    assert first.headers["content-encoding"] == "gzip"
    assert first.headers["user-agent"].startswith("llm-otel-broadcast/")
    assert (first.media, second.media) == ("application/json", "application/x-protobuf")
    assert json.dumps(dict(first.headers))


def test_the_probe_says_that_it_is_a_test_so_that_a_webhook_need_not_keep_it():
    with serving(Backend()) as server:
        assert try_connection(Destination(endpoint=server.endpoint, method="PUT")).ok
        assert send_test_trace(Destination(endpoint=server.endpoint)).ok
    (probe, trace) = server.requests
    assert (probe.method, probe.headers["x-test-connection"]) == ("PUT", "true")
    assert "x-test-connection" not in trace.headers
