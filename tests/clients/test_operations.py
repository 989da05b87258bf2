"""What every operation promises: one span, and for the host everything as it would be without us."""

from __future__ import annotations

import json
import warnings

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.record.generation import Generation, GenerationFacts
from llm_otel_broadcast.stand_in.answers import error
from tests.support.operations import FILE, NAMES, OPERATIONS, SOUND, STREAMED, WAYS, call, reader_of, skip_without
from tests.support.stand_in import media, texts
from tests.support.stand_in.forms import is_form, read_form

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
SECRET = "the launch code is 0000"


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture(params=OPERATIONS)
def operation(request):
    return request.param


@pytest.fixture(params=STREAMED)
def streamed(request):
    skip_without(request.param, "stream")
    return request.param


def test_a_call_makes_one_span_and_its_result_is_the_clients_own(operation, kind, way, stand_in, instrumented, arrived):
    """Embeddings' raw responses raise into the caller with other tracers."""
    plain = call(kind, stand_in.base_url, operation, way=way)
    instrumented()
    traced = call(kind, stand_in.base_url, operation, way=way)
    assert type(traced) is type(plain)
    assert traced == plain
    (span,) = arrived(1)
    assert span.name == f"{NAMES[operation]} {OPERATIONS[operation]['model']}"
    assert span.attributes["gen_ai.operation.name"] == NAMES[operation]
    assert span.attributes["gen_ai.request.model"] == OPERATIONS[operation]["model"]
    assert span.status_code == 0
    assert "openai.api.type" not in span.attributes
    assert "gen_ai.response.finish_reasons" not in span.attributes or operation == "completions.create"


def test_a_stream_makes_exactly_one_span(streamed, kind, way, stand_in, instrumented, arrived):
    plain = call(kind, stand_in.base_url, streamed, way=way, stream=True)
    instrumented()
    assert call(kind, stand_in.base_url, streamed, way=way, stream=True) == plain
    (span,) = arrived(1)
    assert span.attributes["gen_ai.request.stream"] is True
    assert span.attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert span.status_code == 0


def test_a_stream_is_the_clients_own_object(streamed, client, instrumented):
    instrumented()
    resource, _, name = streamed.rpartition(".")
    for step in resource.split("."):
        client = getattr(client, step)
    with getattr(client, name)(**OPERATIONS[streamed], stream=True) as events:
        assert type(events) is openai.Stream


def test_a_stream_that_nobody_reads_to_its_end_is_abandoned(streamed, client, instrumented, arrived):
    instrumented()
    resource, _, name = streamed.rpartition(".")
    for step in resource.split("."):
        client = getattr(client, step)
    getattr(client, name)(**OPERATIONS[streamed], stream=True).close()
    assert arrived(1)[0].attributes["error.type"] == "abandoned"


def test_asking_for_usage_is_left_to_operations_that_know_of_it(streamed, stand_in, instrumented, arrived):
    """The option is for chat; an argument that a method has not is an error in the caller's face."""
    instrumented(request_stream_usage=True)
    call("sync", stand_in.base_url, streamed, stream=True)
    arrived(1)


def test_the_request_equals_that_of_an_unpatched_client(operation, kind, stand_in, instrumented):
    call(kind, stand_in.base_url, operation)
    instrumented()
    call(kind, stand_in.base_url, operation)
    plain, traced = stand_in.requests
    assert traced.path == plain.path
    if is_form(plain.body):  # the boundary differs with every request
        assert read_form(traced.body) == read_form(plain.body)
        assert len(traced.body) == len(plain.body)
    else:
        assert traced.body == plain.body


def test_an_error_leaves_as_it_came(operation, kind, stand_in, instrumented, arrived):
    refusal = error(400, f"This is refused: {SECRET}", code="refused")
    stand_in.script(refusal, refusal)
    with pytest.raises(openai.BadRequestError) as plain:
        call(kind, stand_in.base_url, operation)
    instrumented()
    with pytest.raises(openai.BadRequestError) as traced:
        call(kind, stand_in.base_url, operation)
    assert str(traced.value) == str(plain.value)
    assert traced.value.body == plain.value.body
    (span,) = arrived(1)
    assert span.status_code == 2
    assert span.attributes["error.type"] == "BadRequestError"
    assert span.attributes["openai.response.error.code"] == "refused"


def test_a_wrong_argument_is_the_clients_own_error(operation, kind, stand_in, instrumented, arrived):
    instrumented()
    with pytest.raises(TypeError, match="no_such_argument"):
        call(kind, stand_in.base_url, operation, no_such_argument=1)
    assert arrived(1)[0].attributes["error.type"] == "TypeError"


@pytest.mark.parametrize("body", [b"{}", b'{"data": null, "results": {}, "text": 5, "choices": [null]}', b"[]", b'"x"'])
def test_an_answer_that_is_not_to_the_letter_is_recorded_all_the_same(operation, stand_in, instrumented, arrived, body):
    """Gateways send what they like; what the client makes of it is for the caller to see."""
    from llm_otel_broadcast.stand_in.answers import Answer

    def outcome():
        try:
            return call("sync", stand_in.base_url, operation)
        except Exception as problem:
            return type(problem), str(problem)

    stand_in.script(Answer(body=body), Answer(body=body))
    plain = outcome()
    instrumented()
    assert outcome() == plain
    arrived(1)


def test_a_warning_of_the_client_names_the_callers_line(operation, kind, stand_in, instrumented):
    """Some releases deprecate translations and variations; Python shows that only for the program's own lines."""

    def warned():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call(kind, stand_in.base_url, operation)
        return [(str(one.message), one.category, one.filename, one.lineno) for one in caught]

    plain = warned()
    instrumented()
    assert warned() == plain


def test_trace_fields_are_read_and_not_sent(operation, kind, stand_in, instrumented, arrived):
    instrumented()
    fields = {"trace_id": "job-1", "generation_name": "Step", "team": "red"}
    call(kind, stand_in.base_url, operation, extra_body={"session_id": "s", "user": "u", "trace": fields})
    (span,) = arrived(1)
    assert span.name == "Step"
    assert {"session.id": "s", "user.id": "u", "trace.metadata.team": "red"}.items() <= span.attributes.items()
    assert b"job-1" not in stand_in.requests[0].body


ANSWERS = {
    "completions.create": texts.text_completion(SECRET),
    "images.generate": media.images(revised_prompt=SECRET),
    "images.edit": media.images(url=f"https://files.example.com/{SECRET}"),
    "audio.transcriptions.create": media.transcription(SECRET),
    "audio.translations.create": media.transcription(SECRET),
}
ASKED = {
    "completions.create": {"prompt": [SECRET]},
    "embeddings.create": {"input": [SECRET, "no"]},
    "images.generate": {"prompt": SECRET},
    "images.edit": {"prompt": SECRET},
    "images.create_variation": {"image": SECRET.encode()},
    "audio.speech.create": {"input": SECRET},
    "audio.transcriptions.create": {"prompt": SECRET, "file": ("memo.mp3", SECRET.encode())},
    "audio.translations.create": {"prompt": SECRET},
    "moderations.create": {"input": SECRET},
}
ABSENT = ("images.create_variation",)
"""Operations whose content is media only, which never go anywhere."""


def test_content_goes_where_it_may_and_nowhere_else(operation, way, stand_in, receiver):
    with OtlpReceiver() as private:
        handle = llm_otel_broadcast.instrument(
            destinations=[
                Destination(name="all", endpoint=receiver.endpoint),
                Destination(name="private", endpoint=private.endpoint, privacy_mode=True),
            ]
        )
        stand_in.script(*[answer for name, answer in ANSWERS.items() if name == operation])
        call("sync", stand_in.base_url, operation, way=way, **ASKED[operation])
        assert handle.flush()
        (span,), (bare,) = receiver.store.spans(), private.store.spans()
        assert (SECRET in repr(span)) is (operation not in ABSENT)
        assert not [request for request in private.requests if b"launch" in request.body]
        content = {"gen_ai.input.messages", "gen_ai.output.messages"}
        assert {key: value for key, value in span.attributes.items() if key not in content} == bare.attributes


@pytest.mark.parametrize("way", WAYS)
def test_no_content_leaves_when_nobody_may_have_it(operation, way, stand_in, receiver, instrumented, arrived):
    instrumented(capture_content=False)
    stand_in.script(*[answer for name, answer in ANSWERS.items() if name == operation])
    call("sync", stand_in.base_url, operation, way=way, **ASKED[operation])
    arrived(1)
    assert not [request for request in receiver.requests if b"launch" in request.body]


EVENTS = {
    "completions.create": texts.text_stream(SECRET),
    "audio.transcriptions.create": media.transcription_events(SECRET),
    "images.generate": media.image_events(),
}


@pytest.mark.parametrize("content", [True, False])
def test_what_nobody_may_have_is_not_even_referenced(operation, content):
    reader = reader_of(operation)
    record = Generation(reader.operation)
    reader.read_request(record, {**OPERATIONS[operation], **ASKED[operation]}, content=content)
    answer, streamed = ANSWERS.get(operation), EVENTS.get(operation)
    if answer is not None:
        reader.read_body(record, answer.body)
    held = repr({name: getattr(record, name) for name in (*GenerationFacts.__slots__, *Generation.__slots__)})
    assert (("launch" in held) or ("blob" in held)) is content
    fold = reader.fold(record)
    for event in () if streamed is None else streamed.events:
        if b"DONE" not in event:
            fold.add(json.loads(event.partition(b"data: ")[2]))
    fold.finish()
    held = repr({name: getattr(record, name) for name in (*GenerationFacts.__slots__, *Generation.__slots__)}) + repr(
        getattr(fold, "_pieces", "")
    )
    assert (("launch" in held) or ("blob" in held)) is content


def test_the_text_of_a_stream_is_private_too(streamed, stand_in, receiver, instrumented, arrived):
    instrumented(privacy_mode=True)
    call("sync", stand_in.base_url, streamed, stream=True)
    (span,) = arrived(1)
    assert not [key for key in span.attributes if key.endswith(".messages")]


@pytest.mark.parametrize(("operation", "data"), [("images.edit", FILE[1]), ("audio.transcriptions.create", SOUND[1])])
def test_a_file_is_named_and_measured_but_never_sent_along(operation, data, stand_in, receiver, instrumented, arrived):
    instrumented()
    call("sync", stand_in.base_url, operation)
    attributes = arrived(1)[0].attributes
    name = OPERATIONS[operation].get("image", OPERATIONS[operation].get("file"))[0]
    assert attributes["gen_ai.request.file.names"] == [name]
    assert attributes["gen_ai.request.file.bytes"] == len(data)
    (said,) = json.loads(attributes["gen_ai.input.messages"])
    assert {"filename": name, "stripped": True, "bytes": len(data)}.items() <= said["parts"][-1].items()
    assert not [request for request in receiver.requests if b"or so it says" in request.body]
