"""Images: what was asked for, how many of which size came back; the images themselves go nowhere."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import openai
import pytest

from tests.delivery.test_pricing import needs_listed
from tests.support.operations import call, skip_unless_taken, skip_without
from tests.support.stand_in.forms import read_form
from tests.support.stand_in.media import IMAGE, IMAGE_USAGE, image_events, images

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
BLOB = {"type": "blob", "modality": "image", "mime_type": "image/png", "stripped": True, "bytes": len(IMAGE)}


def output(span):
    return [answer["parts"] for answer in json.loads(span.attributes["gen_ai.output.messages"])]


def test_images_are_counted_and_measured(kind, stand_in, instrumented, arrived):
    instrumented()
    made = call(kind, stand_in.base_url, "images.generate", n=2)
    assert base64.b64decode(made.data[0].b64_json) == IMAGE
    (span,) = arrived(1)
    expected = {
        "gen_ai.output.type": "image",
        "gen_ai.request.choice.count": 2,
        "gen_ai.response.images.count": 2,
        "gen_ai.response.images.bytes": 2 * len(IMAGE),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 272,
        "gen_ai.usage.text.input_tokens": 10,
        "gen_ai.usage.image.input_tokens": 2,
    }
    assert expected.items() <= span.attributes.items()
    assert output(span) == [[BLOB], [BLOB]]


def test_what_an_image_is_like_is_what_it_became(stand_in, instrumented, arrived):
    stand_in.script(images(size="1024x1536", output_format="webp"))
    instrumented()
    call("sync", stand_in.base_url, "images.generate", size="auto", quality="high")
    (span,) = arrived(1)
    assert span.attributes["gen_ai.image.size"] == "1024x1536"
    assert span.attributes["gen_ai.image.quality"] == "high"
    assert span.attributes["gen_ai.image.format"] == "webp"
    assert output(span) == [[{**BLOB, "mime_type": "image/webp"}]]


def test_links_and_revised_prompts_are_content(stand_in, instrumented, arrived):
    stand_in.script(images(url="https://files.example.com/cat.png?sig=s", revised_prompt="A fat cat", usage=None))
    instrumented()
    call("sync", stand_in.base_url, "images.generate", model="dall-e-3")
    (span,) = arrived(1)
    link = {"type": "uri", "modality": "image", "uri": "https://files.example.com/cat.png"}
    assert output(span) == [[{**link, "revised_prompt": "A fat cat"}]]
    assert span.attributes["gen_ai.response.images.count"] == 1
    assert "gen_ai.response.images.bytes" not in span.attributes
    assert not [key for key in span.attributes if "usage" in key]


@pytest.mark.parametrize(
    ("operation", "event"), [("images.generate", "image_generation"), ("images.edit", "image_edit")]
)
def test_a_streamed_image_is_counted_with_its_partial_ones(operation, event, kind, stand_in, instrumented, arrived):
    skip_without(operation, "stream")
    stand_in.script(image_events(3, kind=event))
    instrumented()
    events = call(kind, stand_in.base_url, operation, stream=True, partial_images=3)
    assert [one.type for one in events] == [f"{event}.partial_image"] * 3 + [f"{event}.completed"]
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.partial_images.count"] == 3
    assert span.attributes["gen_ai.response.images.count"] == 1
    assert span.attributes["gen_ai.response.images.bytes"] == len(IMAGE)
    assert span.attributes["gen_ai.usage.total_tokens"] == IMAGE_USAGE["total_tokens"]
    assert span.attributes["gen_ai.image.size"] == "1024x1024"
    assert output(span) == [[BLOB]]


@pytest.mark.parametrize("finished", [True, False])
def test_leaving_a_stream_is_no_error_once_the_image_is_there(finished, client, stand_in, instrumented, arrived):
    skip_without("images.generate", "stream")
    stand_in.script(image_events(1, finished=finished))
    instrumented()
    with client.images.generate(model="gpt-image-1", prompt="A cat", stream=True) as events:
        for _, _ in zip(range(2 if finished else 1), events, strict=False):
            pass
    (span,) = arrived(1)
    assert span.attributes.get("error.type") == (None if finished else "abandoned")
    assert span.attributes["gen_ai.response.partial_images.count"] == 1


@pytest.mark.parametrize("operation", ["images.generate", "images.edit"])
def test_the_image_itself_goes_nowhere(operation, stand_in, receiver, instrumented, arrived):
    instrumented()
    call("sync", stand_in.base_url, operation)
    arrived(1)
    data = base64.b64encode(IMAGE)[:40]
    assert not [request for request in receiver.requests if data in request.body]


def test_an_edit_describes_prompt_images_and_mask(kind, stand_in, instrumented, arrived):
    given = {"image": [("a.png", b"12345", "image/png"), ("b.webp", b"123")], "mask": b"1", "size": "512x512"}
    skip_unless_taken(stand_in.base_url, "images.edit", **given)
    instrumented()
    call(kind, stand_in.base_url, "images.edit", **given)
    (span,) = arrived(1)
    (said,) = json.loads(span.attributes["gen_ai.input.messages"])
    described = {"type": "blob", "modality": "image", "stripped": True}
    assert said["parts"] == [
        {"type": "text", "content": "A hat on the cat"},
        {**described, "mime_type": "image/png", "bytes": 5, "filename": "a.png"},
        {**described, "bytes": 3, "filename": "b.webp"},
        {**described, "bytes": 1},
    ]
    assert span.attributes["gen_ai.request.file.names"] == ["a.png", "b.webp"]
    assert span.attributes["gen_ai.request.file.bytes"] == 9
    assert span.attributes["gen_ai.image.size"] == "512x512"


class Unreadable(io.BytesIO):
    """An open file that tells when anybody but the client looks into it."""

    name = "/home/ann/secret folder/cat.png"

    def __init__(self, data):
        super().__init__(data)
        self.touched = []

    def read(self, *size):
        self.touched.append("read")
        return super().read(*size)

    def seek(self, *to):
        self.touched.append("seek")
        return super().seek(*to)


def test_an_open_file_is_named_but_never_touched_by_us(kind, stand_in, instrumented, arrived):
    before = Unreadable(b"some pixels")
    call(kind, stand_in.base_url, "images.create_variation", image=before)
    instrumented()
    file = Unreadable(b"some pixels")
    call(kind, stand_in.base_url, "images.create_variation", image=file)
    assert file.touched == before.touched
    assert file.tell() == before.tell()
    assert read_form(stand_in.requests[1].body)["image"] == ("cat.png", b"some pixels")
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.request.file.names"] == ["cat.png"]
    assert "gen_ai.request.file.bytes" not in attributes


def test_a_path_is_named_and_not_opened(tmp_path: Path, stand_in, instrumented, arrived):
    path = tmp_path / "cat.png"
    path.write_bytes(b"pixels")
    instrumented()
    call("sync", stand_in.base_url, "images.create_variation", image=path)
    assert read_form(stand_in.requests[0].body)["image"] == ("cat.png", b"pixels")
    (span,) = arrived(1)
    assert span.attributes["gen_ai.request.file.names"] == ["cat.png"]
    assert str(tmp_path) not in repr(span)


def test_what_was_not_given_is_absent(client, instrumented, arrived):
    instrumented()
    client.images.edit(image=b"1", prompt="A hat", mask=openai.NOT_GIVEN, size=openai.NOT_GIVEN, n=openai.NOT_GIVEN)
    (span,) = arrived(1)
    (said,) = json.loads(span.attributes["gen_ai.input.messages"])
    assert len(said["parts"]) == 2
    assert not [key for key in span.attributes if key.endswith(("image.size", "choice.count", "file.names"))]


def test_without_a_model_the_span_has_the_operations_name(client, instrumented, arrived):
    instrumented()
    client.images.generate(prompt="A cat")
    (span,) = arrived(1)
    assert span.name == "generate_content"
    assert "gen_ai.request.model" not in span.attributes


def test_image_tokens_are_priced_as_such(as_openai, stand_in, instrumented, arrived):
    million = 1_000_000
    usage = {"input_tokens": 2 * million, "output_tokens": million, "total_tokens": 3 * million}
    details = {"text_tokens": million, "image_tokens": million}
    stand_in.script(images(usage={**usage, "input_tokens_details": details}))
    instrumented()
    needs_listed("gpt-image-1", "openai")
    call("sync", as_openai, "images.generate")
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.usage.input_cost"] in (15.0, 10.0)  # older price lists know no image tokens
    assert attributes["gen_ai.usage.output_cost"] == 40.0
