"""Transcriptions and translations: JSON, plain text or events out, billed by tokens or by length."""

from __future__ import annotations

import io
import json

import pytest

from tests.support.messages import text_of
from tests.support.operations import SOUND, WAYS, call, skip_without
from tests.support.stand_in.forms import read_form
from tests.support.stand_in.media import plain_transcription, transcription, transcription_events
from tests.support.stand_in.routes import HEARD

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
CREATE = "audio.transcriptions.create"
BOTH = (CREATE, "audio.translations.create")
SUBTITLES = "1\n00:00:00,000 --> 00:00:02,000\nHello there.\n"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("operation", BOTH)
def test_text_and_tokens_are_recorded(operation, way, kind, stand_in, instrumented, arrived):
    instrumented()
    call(kind, stand_in.base_url, operation, way=way)
    (span,) = arrived(1)
    assert text_of(span) == HEARD
    expected = {
        "gen_ai.usage.input_tokens": 40,
        "gen_ai.usage.output_tokens": 8,
        "gen_ai.usage.audio.input_tokens": 36,
        "gen_ai.usage.text.input_tokens": 4,
        "gen_ai.request.file.names": ["voice memo.mp3"],
    }
    assert expected.items() <= span.attributes.items()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("wanted", "answer"), [("text", "Nineteen, 99"), ("srt", SUBTITLES), ("vtt", '{"no": json')])
def test_a_plain_answer_is_a_text_and_stays_one(wanted, answer, way, stand_in, instrumented, arrived):
    stand_in.script(plain_transcription(answer), plain_transcription(answer))
    plain = call("sync", stand_in.base_url, CREATE, way=way, response_format=wanted)
    instrumented()
    made = call("sync", stand_in.base_url, CREATE, way=way, response_format=wanted)
    assert type(made) is type(plain)
    assert made == plain
    (span,) = arrived(1)
    assert text_of(span) == answer
    assert span.attributes["gen_ai.request.response_format"] == wanted


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("operation", BOTH)
def test_audio_billed_by_length_says_its_length(operation, way, stand_in, instrumented, arrived):
    instrumented()
    call("sync", stand_in.base_url, operation, way=way, response_format="verbose_json")
    (span,) = arrived(1)
    assert span.attributes["gen_ai.usage.audio.seconds"] == 3.0
    assert span.attributes["gen_ai.response.language"] == "english"
    assert "gen_ai.usage.input_tokens" not in span.attributes


@pytest.mark.parametrize("stated", [2.5, "2.5"])
def test_without_usage_the_length_beside_the_text_counts(stated, stand_in, instrumented, arrived):
    """Older releases of the API and of the client have it as text."""
    stand_in.script(transcription("Hi", usage=None, duration=stated, language="english", segments=[]))
    instrumented()
    call("sync", stand_in.base_url, CREATE, response_format="verbose_json")
    assert arrived(1)[0].attributes["gen_ai.usage.audio.seconds"] == 2.5


def test_without_any_usage_there_is_none(stand_in, instrumented, arrived):
    stand_in.script(transcription("Hi", usage=None))
    instrumented()
    call("sync", stand_in.base_url, CREATE)
    assert not [key for key in arrived(1)[0].attributes if "usage" in key]


@pytest.mark.parametrize("way", WAYS)
def test_events_add_up_to_the_text(kind, way, stand_in, instrumented, arrived):
    skip_without(CREATE, "stream")
    instrumented()
    events = call(kind, stand_in.base_url, CREATE, way=way, stream=True)
    assert events[-1].type == "transcript.text.done"
    (span,) = arrived(1)
    assert text_of(span) == HEARD
    assert span.attributes["gen_ai.usage.output_tokens"] == 8
    assert span.attributes["gen_ai.response.time_to_first_chunk"] > 0


@pytest.mark.parametrize("finished", [True, False])
def test_leaving_the_events_is_no_error_once_the_text_is_whole(finished, client, stand_in, instrumented, arrived):
    skip_without(CREATE, "stream")
    stand_in.script(transcription_events("Hello there.", finished=finished))
    instrumented()
    with client.audio.transcriptions.create(model="m", file=b"x", stream=True) as events:
        for _, _ in zip(range(3 if finished else 2), events, strict=False):
            pass
    (span,) = arrived(1)
    assert span.attributes.get("error.type") == (None if finished else "abandoned")
    assert text_of(span) == "Hello there."


def test_prompt_and_file_are_described(stand_in, instrumented, arrived):
    instrumented()
    call("sync", stand_in.base_url, CREATE, prompt="Names: Ann", language="en", temperature=0.5)
    (span,) = arrived(1)
    (said,) = json.loads(span.attributes["gen_ai.input.messages"])
    assert said["parts"] == [
        {"type": "text", "content": "Names: Ann"},
        {"type": "blob", "modality": "audio", "stripped": True, "bytes": len(SOUND[1]), "filename": "voice memo.mp3"},
    ]
    assert span.attributes["gen_ai.request.language"] == "en"
    assert span.attributes["gen_ai.request.temperature"] == 0.5


def test_an_open_file_is_read_by_the_client_alone(kind, stand_in, instrumented, arrived):
    def send() -> int:
        file = io.BytesIO(b"0123456789")
        file.name = "memo.wav"
        file.seek(4)
        call(kind, stand_in.base_url, CREATE, file=file)
        return file.tell()

    plain = send()
    instrumented()
    assert send() == plain
    without, traced = (read_form(request.body)["file"] for request in stand_in.requests)
    assert traced == without
    assert arrived(1)[0].attributes["gen_ai.request.file.names"] == ["memo.wav"]


def test_a_file_whose_name_cannot_be_told_is_not_named(stand_in, instrumented, arrived):
    class Odd(io.BytesIO):
        @property
        def name(self):
            raise RuntimeError("no name")

    instrumented()
    call("sync", stand_in.base_url, CREATE, file=("given.mp3", Odd(b"x")))
    call("sync", stand_in.base_url, CREATE, file=(None, Odd(b"x")))
    first, second = arrived(2)
    assert first.attributes["gen_ai.request.file.names"] == ["given.mp3"]
    assert "gen_ai.request.file.names" not in second.attributes
