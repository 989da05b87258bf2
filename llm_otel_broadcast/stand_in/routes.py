"""Which path of the API is answered how, when no script says otherwise. A new operation is one row and one function."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from llm_otel_broadcast.stand_in import media, responses, texts
from llm_otel_broadcast.stand_in.answers import Answer, completion, error, message, stream, usage_of
from llm_otel_broadcast.stand_in.forms import is_form, read_form

ERROR_WORDS: Final = "trigger error"
"""A last message with these words is answered 400."""
GREETING: Final = "Hello! How can I help you today?"
HEARD: Final = "One two three, testing."
_CHARACTERS_A_TOKEN: Final = 4
_BELOW: Final = r"(/openai/deployments/(?P<deployment>[^/]+)|.*)"

Asked: TypeAlias = Mapping[str, Any]
"""The request's JSON object; of any other body nothing."""


def usual_answer(path: str, body: bytes, query: Mapping[str, str]) -> Answer:
    """Return what the API would say to a request; what is not asked for in the body may be in the query."""
    for pattern, answer in _ROUTES:
        found = pattern.match(path)
        if found is not None:
            try:
                document = read_form(body) if is_form(body) else json.loads(body or b"{}")
            except ValueError:
                return error(400, "the body is not JSON")
            return answer({**query, **document} if isinstance(document, dict) else query, found)
    return error(404, f"unknown path {path}", code="not_found")


def tokens(text: str) -> int:
    """Return a plausible number of tokens."""
    return -(-len(text) // _CHARACTERS_A_TOKEN)


def _chat(asked: Asked, found: re.Match[str]) -> Answer:
    messages = asked.get("messages") or []
    last = str(messages[-1].get("content")) if messages and isinstance(messages[-1], dict) else ""
    if ERROR_WORDS in last:
        return error(400, f"This model cannot answer: {last}", code="bad_request")
    model = found["deployment"] or str(asked.get("model") or "gpt-4o-mini")
    said = [message(GREETING)] * (asked.get("n") or 1)
    spent = usage_of(tokens(json.dumps(messages)), tokens(GREETING) * len(said), model=model)
    if not asked.get("stream"):
        return completion(*said, model=model, usage=spent)
    wanted = "/" in model or (asked.get("stream_options") or {}).get("include_usage")
    return stream(*said, model=model, usage=spent if wanted else None, azure=found["deployment"] is not None)


def _completion(asked: Asked, found: re.Match[str]) -> Answer:
    prompts = texts.inputs_of(asked, "prompt")
    said = [GREETING] * (len(prompts) * (asked.get("n") or 1))
    model = found["deployment"] or str(asked.get("model"))
    spent = usage_of(sum(map(texts.length_of, prompts)), tokens(GREETING) * len(said), model=model)
    if not asked.get("stream"):
        return texts.text_completion(*said, model=model, usage=spent)
    wanted = (asked.get("stream_options") or {}).get("include_usage")
    return texts.text_stream(*said, model=model, usage=spent if wanted else None)


def _embedding(asked: Asked, found: re.Match[str]) -> Answer:
    inputs = texts.inputs_of(asked, "input")
    vectors = [[0.5] * (asked.get("dimensions") or 8)] * len(inputs)
    return texts.embeddings(
        *vectors,
        model=found["deployment"] or str(asked.get("model")),
        tokens=sum(map(texts.length_of, inputs)),
        encoded=asked.get("encoding_format") == "base64",
    )


def _moderation(asked: Asked, _found: re.Match[str]) -> Answer:
    inputs = texts.inputs_of(asked, "input")
    judged = inputs[:1] if isinstance(inputs[0], dict) else inputs
    return texts.moderation(*(["violence", "self-harm/intent"] if "harm" in str(one) else [] for one in judged))


def _decision(asked: Asked, _found: re.Match[str]) -> Answer:
    questions = asked.get("questions") or []
    spent = tokens(json.dumps([asked.get("input"), questions]))
    return texts.decision(questions, model=str(asked.get("model")), tokens=spent)


def _image(asked: Asked, found: re.Match[str]) -> Answer:
    if asked.get("stream") in (True, "true"):
        kind = "image_generation" if found["what"] == "generations" else "image_edit"
        return media.image_events(int(asked.get("partial_images") or 0), kind=kind)
    return media.images(int(asked.get("n") or 1))


def _speech(asked: Asked, _found: re.Match[str]) -> Answer:
    return media.speech_events() if asked.get("stream_format") == "sse" else media.speech()


def _hearing(asked: Asked, _found: re.Match[str]) -> Answer:
    if asked.get("stream") in (True, "true"):
        return media.transcription_events(HEARD)
    wanted = asked.get("response_format") or "json"
    if wanted == "verbose_json":
        spent = {"type": "duration", "seconds": 3}
        return media.transcription(HEARD, usage=spent, duration=2.7, language="english", segments=[], words=[])
    return media.transcription(HEARD) if wanted == "json" else media.plain_transcription(HEARD)


def _response(asked: Asked, _found: re.Match[str]) -> Answer:
    said = json.dumps(asked.get("input"))
    if ERROR_WORDS in said:
        return error(400, f"This model cannot answer: {said}", code="bad_request")
    model = str(asked.get("model") or "gpt-4o-mini")
    if asked.get("background") and not asked.get("stream"):
        return responses.whole(model=model, status="queued", background=True)
    spent = responses.spent(tokens(said), tokens(GREETING), model=model)
    answer = responses.streamed if asked.get("stream") else responses.whole
    return answer(responses.text(GREETING), model=model, usage=spent)


def _fetched(asked: Asked, found: re.Match[str]) -> Answer:
    """Answer that a response has been completed, whichever it is."""
    spent = responses.spent(tokens(GREETING), tokens(GREETING))
    answer = responses.streamed if asked.get("stream") == "true" else responses.whole
    return answer(responses.text(GREETING), id=found["response"], usage=spent)


_ROUTES: Final[tuple[tuple[re.Pattern[str], Callable[[Asked, re.Match[str]], Answer]], ...]] = (
    (re.compile(_BELOW + r"/chat/completions\Z"), _chat),
    (re.compile(_BELOW + r"/completions\Z"), _completion),
    (re.compile(_BELOW + r"/embeddings\Z"), _embedding),
    (re.compile(_BELOW + r"/moderations\Z"), _moderation),
    (re.compile(_BELOW + r"/decisions\Z"), _decision),
    (re.compile(_BELOW + r"/images/(?P<what>generations|edits|variations)\Z"), _image),
    (re.compile(_BELOW + r"/audio/speech\Z"), _speech),
    (re.compile(_BELOW + r"/audio/(transcriptions|translations)\Z"), _hearing),
    (re.compile(_BELOW + r"/responses\Z"), _response),
    (re.compile(_BELOW + r"/responses/(?P<response>[^/]+)\Z"), _fetched),
)
