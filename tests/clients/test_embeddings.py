"""Embeddings: tokens and dimensions, texts where content may go, vectors nowhere."""

from __future__ import annotations

import gc
import json

import pytest

from llm_otel_broadcast.clients.openai.embeddings import EmbeddingReader
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.stand_in.answers import Answer
from tests.support.operations import WAYS, call
from tests.support.stand_in.texts import embeddings

CREATE = "embeddings.create"
ODD = 0.123456789


@pytest.mark.parametrize("way", WAYS)
def test_tokens_model_and_dimensions_are_recorded(kind, way, stand_in, instrumented, arrived):
    instrumented()
    call(kind, stand_in.base_url, CREATE, way=way, input=["one", "two"])
    (span,) = arrived(1)
    expected = {
        "gen_ai.response.model": "text-embedding-3-small",
        "gen_ai.usage.input_tokens": 4,
        "gen_ai.usage.total_tokens": 4,
        "gen_ai.embeddings.dimension.count": 8,
        "gen_ai.request.input.count": 2,
    }
    assert expected.items() <= span.attributes.items()
    assert "gen_ai.usage.output_tokens" not in span.attributes
    (said,) = json.loads(span.attributes["gen_ai.input.messages"])
    assert said["parts"] == [{"type": "text", "content": "one"}, {"type": "text", "content": "two"}]


def test_the_caller_gets_numbers_and_we_name_no_format_he_did_not(kind, stand_in, instrumented, arrived):
    """The client itself asks for base64 and decodes it."""
    instrumented()
    made = call(kind, stand_in.base_url, CREATE, dimensions=4)
    assert made.data[0].embedding == [0.5] * 4
    attributes = arrived(1)[0].attributes
    assert "gen_ai.request.encoding_formats" not in attributes
    assert attributes["gen_ai.embeddings.dimension.count"] == 4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_a_format_that_the_caller_names_is_recorded(encoding, way, stand_in, instrumented, arrived):
    instrumented()
    call("sync", stand_in.base_url, CREATE, way=way, encoding_format=encoding, dimensions=6)
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.request.encoding_formats"] == [encoding]
    assert attributes["gen_ai.embeddings.dimension.count"] == 6


@pytest.mark.parametrize("way", WAYS)
def test_vectors_go_nowhere(way, stand_in, receiver, instrumented, arrived):
    stand_in.script(embeddings([ODD] * 8))
    instrumented()
    call("sync", stand_in.base_url, CREATE, way=way, encoding_format="float")
    (span,) = arrived(1)
    assert "gen_ai.output.messages" not in span.attributes
    assert not [request for request in receiver.requests if str(ODD).encode() in request.body]


def test_vectors_are_not_even_referenced():
    """The whole response dumped."""

    class Vector(list):
        pass

    record, vector = Generation("embeddings"), Vector([ODD] * 3)
    EmbeddingReader().read_response(record, {"data": [{"embedding": vector}], "usage": {"prompt_tokens": 1}})
    assert record.details == {"dimensions": 3}
    assert not [holder for holder in gc.get_referrers(vector) if holder is record or holder is record.details]


@pytest.mark.parametrize(
    "vector", ["[0.5, -1e-05,\n 3]", '"AAAAAAAAAAAAAAAA"', "[not, even, numbers]", "[[1, 2, 3], [4, 5, 6]]"]
)
def test_a_raw_body_is_read_past_its_vectors_whatever_their_order(vector):
    """To parse them would hold the interpreter for seconds."""
    record = Generation("embeddings")
    body = '{"usage": {"prompt_tokens": 3}, "data": [{"embedding" : %s, "index": 0}], "model": "m"}' % vector  # noqa: UP031
    EmbeddingReader().read_body(record, body.encode())
    assert record.details == {"dimensions": 3}
    assert record.usage.input_tokens == 3
    assert record.response_model == "m"


@pytest.mark.parametrize("body", [b'{"data": [{"embedding": []}]}', b'{"data": []}', b'{"embedding": null}'])
def test_a_raw_body_without_vectors_has_no_dimensions(body):
    record = Generation("embeddings")
    EmbeddingReader().read_body(record, body)
    assert not record.details


@pytest.mark.parametrize("answer", [embeddings(), Answer(body=b'{"error": {"code": 502, "message": "down"}}')])
def test_an_answer_without_data_is_as_the_client_takes_it(answer, kind, stand_in, instrumented, arrived):
    """Newer clients raise, the span has the error; OpenRouter's `error` in a 200 is one in any case."""

    def outcome():
        stand_in.script(answer)
        try:
            return call(kind, stand_in.base_url, CREATE)
        except (TypeError, ValueError) as problem:
            return str(problem)

    plain = outcome()
    instrumented()
    assert outcome() == plain
    assert (arrived(1)[0].status_code == 2) is (isinstance(plain, str) or b"error" in answer.body)


@pytest.mark.parametrize(
    ("given", "count", "parts"),
    [
        ([471147, 471248], 1, [{"type": "tokens", "count": 2}]),
        ([[471147], [471248, 471349]], 2, [{"type": "tokens", "count": 1}, {"type": "tokens", "count": 2}]),
    ],
)
def test_token_ids_are_counted_not_kept(given, count, parts, stand_in, instrumented, arrived):
    instrumented()
    call("sync", stand_in.base_url, CREATE, input=given)
    (span,) = arrived(1)
    assert span.attributes["gen_ai.request.input.count"] == count
    assert json.loads(span.attributes["gen_ai.input.messages"])[0]["parts"] == parts
    assert "471147" not in repr(span.attributes)


def test_a_generator_of_token_lists_is_not_consumed(kind, stand_in, instrumented, arrived):
    instrumented()
    call(kind, stand_in.base_url, CREATE, input=(ids for ids in [[1, 2], [3]]))
    assert stand_in.requests[0].json["input"] == [[1, 2], [3]]
    (said,) = json.loads(arrived(1)[0].attributes["gen_ai.input.messages"])
    assert said["parts"] == [{"type": "tokens", "count": 2}, {"type": "tokens", "count": 1}]


def test_texts_changed_after_the_call_are_recorded_as_they_were(client, instrumented, arrived):
    instrumented()
    texts = ["before"]
    client.embeddings.create(model="text-embedding-3-small", input=texts)
    texts[0] = "after"
    assert "before" in arrived(1)[0].attributes["gen_ai.input.messages"]


def test_a_model_nobody_knows_has_no_price(stand_in, instrumented, arrived):
    stand_in.script(embeddings([0.5], model="my-own-embedder"))
    instrumented()
    call("sync", stand_in.base_url, CREATE, model="my-own-embedder")
    assert not [key for key in arrived(1)[0].attributes if "cost" in key]
