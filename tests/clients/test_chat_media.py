"""Chat with sound and pictures: words are content, media are described, in whole answers and in streams."""

from __future__ import annotations

import base64
import json

import pytest

from llm_otel_broadcast.stand_in.answers import completion, message, stream, usage_of
from tests.support.client_calls import chat
from tests.support.messages import parts_of
from tests.support.operations import skip_without
from tests.support.stand_in.media import AUDIO, IMAGE

DATA = base64.b64encode(AUDIO).decode()
SPOKEN = {"id": "audio_1", "data": DATA, "transcript": "Yes, it is sunny.", "expires_at": 1_790_000_000}
DRAWN = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(IMAGE).decode()}}
LINKED = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
ASKED = {"model": "gpt-audio", "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
SOUND = {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "stripped": True, "bytes": len(AUDIO)}
PICTURE = {"type": "blob", "modality": "image", "mime_type": "image/png", "stripped": True, "bytes": len(IMAGE)}


@pytest.fixture(autouse=True)
def _needs_audio():
    skip_without("chat.completions.create", "audio")


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def streamed(request):
    return request.param


def answer_of(said, streamed):
    usage = usage_of(5, 9)
    return stream(said, usage=usage) if streamed else completion(said, usage=usage)


def test_an_answer_in_audio_is_its_words_and_a_description(kind, streamed, stand_in, instrumented, arrived):
    stand_in.script(answer_of(message(audio=SPOKEN), streamed))
    instrumented()
    chat(kind, stand_in.base_url, stream=streamed, **ASKED)
    (span,) = arrived(1)
    assert parts_of(span) == [
        {"type": "text", "content": "Yes, it is sunny."},
        {**SOUND, "id": "audio_1"},
    ]
    expected = {
        "gen_ai.output.type": "speech",
        "gen_ai.request.voice": "alloy",
        "gen_ai.request.audio.format": "wav",
        "gen_ai.response.finish_reasons": ["stop"],
    }
    assert expected.items() <= span.attributes.items()


def test_a_text_beside_the_audio_stays_the_text(streamed, stand_in, instrumented, arrived):
    stand_in.script(answer_of(message("Sunny.", audio=SPOKEN), streamed))
    instrumented()
    chat("sync", stand_in.base_url, stream=streamed, **ASKED)
    assert parts_of(arrived(1)[0]) == [
        {"type": "text", "content": "Sunny."},
        {**SOUND, "id": "audio_1", "transcript": "Yes, it is sunny."},
    ]


def test_the_first_sound_is_the_first_chunk(stand_in, instrumented, arrived):
    stand_in.script(answer_of(message(audio=SPOKEN), streamed=True))
    instrumented()
    chat("sync", stand_in.base_url, stream=True, **ASKED)
    assert arrived(1)[0].attributes["gen_ai.response.time_to_first_chunk"] > 0


def test_images_in_an_answer_are_described(kind, streamed, stand_in, instrumented, arrived):
    """OpenRouter's way: `message.images`."""
    stand_in.script(answer_of(message("Here.", images=[DRAWN, LINKED]), streamed))
    instrumented()
    chat(kind, stand_in.base_url, stream=streamed, modalities=["image", "text"])
    (span,) = arrived(1)
    link = {"type": "uri", "modality": "image", "uri": "https://example.com/cat.png"}
    assert parts_of(span) == [{"type": "text", "content": "Here."}, PICTURE, link]
    assert span.attributes["gen_ai.output.type"] == "image"


@pytest.mark.parametrize("said", [message(audio=SPOKEN), message(images=[DRAWN])], ids=["audio", "images"])
def test_media_go_nowhere_and_words_only_where_they_may(said, streamed, stand_in, receiver, instrumented, arrived):
    stand_in.script(answer_of(said, streamed), answer_of(said, streamed))
    instrumented()
    chat("sync", stand_in.base_url, stream=streamed)
    arrived(1)
    assert not [request for request in receiver.requests if DATA[:30].encode() in request.body]
    receiver.clear()
    instrumented(privacy_mode=True)
    chat("sync", stand_in.base_url, stream=streamed)
    arrived(1)
    for secret in (b"sunny", b"blob"):
        assert not [request for request in receiver.requests if secret in request.body]


def test_an_answer_in_audio_can_be_sent_back(client, stand_in, receiver, instrumented, arrived):
    stand_in.script(completion(message(audio=SPOKEN, images=[DRAWN])))
    instrumented()
    first = client.chat.completions.create(messages=[{"role": "user", "content": "Sunny?"}], **ASKED)
    client.chat.completions.create(messages=[first.choices[0].message], **ASKED)
    (said,) = json.loads(arrived(2)[-1].attributes["gen_ai.input.messages"])
    assert [part["type"] for part in said["parts"]] == ["text", "blob", "blob"]
    assert not [request for request in receiver.requests if DATA[:30].encode() in request.body]


def test_media_in_a_prompt_are_described(kind, stand_in, receiver, instrumented, arrived):
    content = [
        {"type": "text", "text": "What is this?"},
        DRAWN,
        LINKED,
        {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{DATA}", "filename": "a.pdf"}},
    ]
    instrumented()
    chat(kind, stand_in.base_url, messages=[{"role": "user", "content": content}])
    (said,) = json.loads(arrived(1)[0].attributes["gen_ai.input.messages"])
    assert [part["type"] for part in said["parts"]] == ["text", "blob", "uri", "blob", "blob"]
    assert [part["bytes"] for part in said["parts"] if part["type"] == "blob"] == [128, 1024, 1024]
    assert not [request for request in receiver.requests if DATA[:30].encode() in request.body]
    assert stand_in.requests[0].json["messages"][0]["content"] == content
