"""Speech: what was said in which voice, and the size of the answer; the audio is the caller's alone."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from tests.support.operations import WAYS, call, skip_without
from tests.support.stand_in.media import AUDIO, SPEECH_USAGE

CREATE = "audio.speech.create"


@pytest.mark.parametrize("way", WAYS)
def test_voice_format_and_size_are_recorded(kind, way, stand_in, instrumented, arrived):
    instrumented()
    assert call(kind, stand_in.base_url, CREATE, way=way, response_format="opus") == AUDIO
    (span,) = arrived(1)
    expected = {
        "gen_ai.output.type": "speech",
        "gen_ai.request.voice": "alloy",
        "gen_ai.request.audio.format": "opus",
        "http.response.body.size": len(AUDIO),
    }
    assert expected.items() <= span.attributes.items()
    assert not [key for key in span.attributes if "usage" in key or key == "gen_ai.output.messages"]


def test_the_result_is_the_clients_own_object_untouched(client, instrumented, arrived):
    plain = client.audio.speech.create(model="tts-1", voice="alloy", input="Hi")
    instrumented()
    made = client.audio.speech.create(model="tts-1", voice="alloy", input="Hi")
    assert type(made) is type(plain)
    assert vars(made).keys() == vars(plain).keys()
    assert vars(made.response).keys() == vars(plain.response).keys()
    assert b"".join(made.iter_bytes()) == AUDIO
    arrived(1)


def test_text_and_instructions_are_content(stand_in, instrumented, arrived):
    skip_without(CREATE, "instructions")
    instrumented()
    call("sync", stand_in.base_url, CREATE, instructions="Whisper.")
    (span,) = arrived(1)
    (said,) = json.loads(span.attributes["gen_ai.input.messages"])
    assert said["parts"] == [{"type": "text", "content": "Good morning"}]
    assert json.loads(span.attributes["gen_ai.system_instructions"]) == [{"type": "text", "content": "Whisper."}]


def test_a_voice_of_ones_own_is_named_by_its_id(stand_in, instrumented, arrived):
    instrumented()
    call("sync", stand_in.base_url, CREATE, voice={"id": "voice_1234"})
    assert arrived(1)[0].attributes["gen_ai.request.voice"] == "voice_1234"


def test_a_streamed_answer_is_measured_as_it_passes(client, tmp_path, instrumented, arrived):
    instrumented()
    with client.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="Hi") as response:
        assert not response.is_closed
        response.stream_to_file(tmp_path / "hi.mp3")
    assert (tmp_path / "hi.mp3").read_bytes() == AUDIO
    assert arrived(1)[0].attributes["http.response.body.size"] == len(AUDIO)


def test_of_an_answer_half_read_the_half_is_measured(client, instrumented, arrived):
    instrumented()
    with client.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="Hi") as response:
        next(response.iter_bytes(256))
    assert 256 <= arrived(1)[0].attributes["http.response.body.size"] <= len(AUDIO)


def test_an_async_streamed_answer_is_measured_too(stand_in, instrumented, arrived):
    instrumented()

    async def speak() -> bytes:
        async with (
            openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client,
            client.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="Hi") as response,
        ):
            return b"".join([piece async for piece in response.iter_bytes()])

    assert asyncio.run(speak()) == AUDIO
    assert arrived(1)[0].attributes["http.response.body.size"] == len(AUDIO)


@pytest.mark.parametrize("way", WAYS)
def test_events_tell_the_usage_at_their_end(kind, way, stand_in, receiver, instrumented, arrived):
    skip_without(CREATE, "stream_format")
    instrumented()
    body = call(kind, stand_in.base_url, CREATE, way=way, stream_format="sse")
    assert b"speech.audio.done" in body
    (span,) = arrived(1)
    assert span.attributes["gen_ai.usage.input_tokens"] == SPEECH_USAGE["input_tokens"]
    assert span.attributes["gen_ai.usage.output_tokens"] == SPEECH_USAGE["output_tokens"]
    assert span.attributes["http.response.body.size"] == len(body)
    assert not [request for request in receiver.requests if b"speech.audio.delta" in request.body]


def test_events_that_the_caller_reads_line_by_line_are_left_to_him(client, instrumented, arrived):
    skip_without(CREATE, "stream_format")
    instrumented()
    asked = {"model": "tts-1", "voice": "alloy", "input": "Hi", "stream_format": "sse"}
    with client.audio.speech.with_streaming_response.create(**asked) as response:
        lines = [line for line in response.iter_lines() if line]
    assert len(lines) == 3
    (span,) = arrived(1)
    assert span.attributes["http.response.body.size"] > 0
    assert not [key for key in span.attributes if "usage" in key]
