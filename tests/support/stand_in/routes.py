"""The rest of the API: which path is answered how, when no script says otherwise. A new operation is one row and one function."""

from __future__ import annotations

import json
import re

from llm_otel_broadcast.stand_in.answers import Answer, error, usage_of
from llm_otel_broadcast.stand_in.routes import CHAT_ROUTES, ERROR_WORDS, GREETING, PREFIX, Members, tokens
from tests.support.stand_in import media, responses, texts

HEARD = "One two three, testing."


def _completion(members: Members, match: re.Match[str]) -> Answer:
    prompts = texts.inputs_of(members, "prompt")
    said = [GREETING] * (len(prompts) * (members.get("n") or 1))
    model = match["deployment"] or str(members.get("model"))
    spent = usage_of(sum(map(texts.length_of, prompts)), tokens(GREETING) * len(said), model=model)
    if not members.get("stream"):
        return texts.text_completion(*said, model=model, usage=spent)
    wanted = (members.get("stream_options") or {}).get("include_usage")
    return texts.text_stream(*said, model=model, usage=spent if wanted else None)


def _embedding(members: Members, match: re.Match[str]) -> Answer:
    inputs = texts.inputs_of(members, "input")
    vectors = [[0.5] * (members.get("dimensions") or 8)] * len(inputs)
    return texts.embeddings(
        *vectors,
        model=match["deployment"] or str(members.get("model")),
        tokens=sum(map(texts.length_of, inputs)),
        encoded=members.get("encoding_format") == "base64",
    )


def _moderation(members: Members, _match: re.Match[str]) -> Answer:
    inputs = texts.inputs_of(members, "input")
    judged = inputs[:1] if isinstance(inputs[0], dict) else inputs
    return texts.moderation(*(["violence", "self-harm/intent"] if "harm" in str(one) else [] for one in judged))


def _decision(members: Members, _match: re.Match[str]) -> Answer:
    questions = members.get("questions") or []
    spent = tokens(json.dumps([members.get("input"), questions]))
    return texts.decision(questions, model=str(members.get("model")), tokens=spent)


def _image(members: Members, match: re.Match[str]) -> Answer:
    if members.get("stream") in (True, "true"):
        kind = "image_generation" if match["what"] == "generations" else "image_edit"
        return media.image_events(int(members.get("partial_images") or 0), kind=kind)
    return media.images(int(members.get("n") or 1))


def _speech(members: Members, _match: re.Match[str]) -> Answer:
    return media.speech_events() if members.get("stream_format") == "sse" else media.speech()


def _hearing(members: Members, _match: re.Match[str]) -> Answer:
    if members.get("stream") in (True, "true"):
        return media.transcription_events(HEARD)
    wanted = members.get("response_format") or "json"
    if wanted == "verbose_json":
        spent = {"type": "duration", "seconds": 3}
        return media.transcription(HEARD, usage=spent, duration=2.7, language="english", segments=[], words=[])
    return media.transcription(HEARD) if wanted == "json" else media.plain_transcription(HEARD)


def _response(members: Members, _match: re.Match[str]) -> Answer:
    said = json.dumps(members.get("input"))
    if ERROR_WORDS in said:
        return error(400, f"This model cannot answer: {said}", code="bad_request")
    model = str(members.get("model") or "gpt-4o-mini")
    if members.get("background") and not members.get("stream"):
        return responses.whole(model=model, status="queued", background=True)
    spent = responses.spent(tokens(said), tokens(GREETING), model=model)
    answer = responses.streamed if members.get("stream") else responses.whole
    return answer(responses.text(GREETING), model=model, usage=spent)


def _fetched(members: Members, match: re.Match[str]) -> Answer:
    """Answer that a response has been completed, whichever it is."""
    spent = responses.spent(tokens(GREETING), tokens(GREETING))
    answer = responses.streamed if members.get("stream") == "true" else responses.whole
    return answer(responses.text(GREETING), id=match["response"], usage=spent)


ROUTES = (
    *CHAT_ROUTES,
    (re.compile(PREFIX + r"/completions\Z"), _completion),
    (re.compile(PREFIX + r"/embeddings\Z"), _embedding),
    (re.compile(PREFIX + r"/moderations\Z"), _moderation),
    (re.compile(PREFIX + r"/decisions\Z"), _decision),
    (re.compile(PREFIX + r"/images/(?P<what>generations|edits|variations)\Z"), _image),
    (re.compile(PREFIX + r"/audio/speech\Z"), _speech),
    (re.compile(PREFIX + r"/audio/(transcriptions|translations)\Z"), _hearing),
    (re.compile(PREFIX + r"/responses\Z"), _response),
    (re.compile(PREFIX + r"/responses/(?P<response>[^/]+)\Z"), _fetched),
)
