"""`decisions`: a model answers questions about an input; one span with tokens, the questions and the answers as content."""

from __future__ import annotations

import openai
import pytest

from tests.support.messages import all_parts_of

with openai.OpenAI(api_key="sk-test") as _client:
    pytestmark = pytest.mark.skipif(not hasattr(_client, "decisions"), reason="the installed client has no decisions")
QUESTIONS = [
    {"type": "predicate", "name": "spam", "question": "Is it spam?"},
    {
        "type": "choice",
        "name": "tone",
        "question": "Which tone?",
        "choices": [{"value": "loud", "description": "Shouts."}, {"value": "soft", "description": "Whispers."}],
    },
]
ASKED = {"model": "gpt-6-luna", "input": "You have won!", "questions": QUESTIONS}


@pytest.mark.parametrize("once", [False, True])
def test_a_decision_is_recorded_with_its_questions_and_answers(client, instrumented, arrived, once):
    instrumented()
    asked = {**ASKED, "questions": iter(QUESTIONS)} if once else ASKED
    decided = client.decisions.create(**asked)
    assert [answer.type for answer in decided.answers] == ["predicate", "choice"]
    (span,) = arrived(1)
    assert span.name == "decision gpt-6-luna"
    assert span.attributes["gen_ai.usage.input_tokens"] == decided.usage.input_tokens
    assert span.attributes["gen_ai.response.model"] == "gpt-6-luna"
    assert span.attributes["gen_ai.output.type"] == "json"
    text, *questions = all_parts_of(span, "gen_ai.input.messages")
    assert text == {"type": "text", "content": "You have won!"}
    assert [(part["type"], part["question"]) for part in questions] == [
        ("predicate", "Is it spam?"),
        ("choice", "Which tone?"),
    ]
    assert all_parts_of(span, "gen_ai.output.messages") == [
        {"type": "predicate", "name": "spam", "probability": 0.9},
        {"type": "choice", "name": "tone", "choice": "loud", "confidence": 0.9, "probabilities": []},
    ]


def test_a_raw_decision_is_recorded_from_its_bytes(client, instrumented, arrived):
    instrumented()
    client.decisions.with_raw_response.create(**ASKED)
    (span,) = arrived(1)
    assert [part["type"] for part in all_parts_of(span, "gen_ai.output.messages")] == ["predicate", "choice"]


def test_private_decisions_keep_their_facts_only(client, instrumented, arrived):
    instrumented(privacy_mode=True)
    client.decisions.create(**ASKED)
    (span,) = arrived(1)
    assert span.attributes["gen_ai.usage.output_tokens"] == 2
    assert not [value for value in map(str, span.attributes.values()) if "won" in value or "spam" in value]
