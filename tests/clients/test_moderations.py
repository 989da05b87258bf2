"""Moderations: how many inputs are flagged for what; the inputs are content."""

from __future__ import annotations

import pytest

from tests.support.messages import INPUT, parts_of
from tests.support.operations import WAYS, call, skip_unless_taken

CREATE = "moderations.create"
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize("way", WAYS)
def test_the_flagged_are_counted_and_their_categories_named(kind, way, stand_in, instrumented, arrived):
    instrumented()
    call(kind, stand_in.base_url, CREATE, way=way, input=["harm", "a flower", "more harm"])
    (span,) = arrived(1)
    expected = {
        "gen_ai.moderation.flagged.count": 2,
        "gen_ai.moderation.flagged.categories": ["self_harm_intent", "violence"],
        "gen_ai.request.input.count": 3,
        "gen_ai.response.id": "modr-1",
        "gen_ai.response.model": "omni-moderation-latest",
    }
    assert expected.items() <= span.attributes.items()
    assert [part["content"] for part in parts_of(span, INPUT)] == ["harm", "a flower", "more harm"]


def test_an_innocent_input_is_flagged_for_nothing(stand_in, instrumented, arrived):
    instrumented()
    call("sync", stand_in.base_url, CREATE, input="a flower")
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.moderation.flagged.count"] == 0
    assert "gen_ai.moderation.flagged.categories" not in attributes


def test_without_a_model_none_is_made_up(client, instrumented, arrived):
    instrumented()
    client.moderations.create(input="a flower")
    (span,) = arrived(1)
    assert span.name == "moderation"
    assert "gen_ai.request.model" not in span.attributes


def test_parts_are_one_input_and_images_are_described(kind, stand_in, instrumented, arrived):
    instrumented()
    call(kind, stand_in.base_url, CREATE, input=[{"type": "text", "text": "harm"}, PICTURE])
    (span,) = arrived(1)
    assert span.attributes["gen_ai.request.input.count"] == 1
    assert parts_of(span, INPUT) == [
        {"type": "text", "content": "harm"},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "stripped": True, "bytes": 3},
    ]


def test_a_generator_of_parts_is_not_consumed(kind, stand_in, instrumented, arrived):
    given = [{"type": "text", "text": "harm"}, PICTURE]
    skip_unless_taken(stand_in.base_url, CREATE, input=(part for part in given))
    instrumented()
    call(kind, stand_in.base_url, CREATE, input=(part for part in given))
    assert stand_in.requests[1].json["input"] == given
    assert [part["type"] for part in parts_of(arrived(1)[0], INPUT)] == ["text", "blob"]
