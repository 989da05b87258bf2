"""Reading `decisions`: questions about an input that a model answers with probabilities, choices and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_otel_broadcast.clients.arguments import keep_argument
from llm_otel_broadcast.clients.openai.answers import read_head, read_tail
from llm_otel_broadcast.clients.openai.openrouter import note_error
from llm_otel_broadcast.clients.openai.responses.items import shallow
from llm_otel_broadcast.clients.reader import Reader, all_members_of, items_of, note, text_of
from llm_otel_broadcast.record.generation import Choice, Generation


class DecisionReader(Reader):
    """Reads decisions. Questions and answers are parts of messages, under the types that the API gives them."""

    operation = "decision"
    api = None

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.wants_content = content
        note(record, output_type="json")
        if content:
            messages, size = keep_argument(kwargs, "input")
            questions, questions_size = keep_argument(kwargs, "questions")
            messages = [] if messages is None else messages
            # In place: what can be iterated once fills the list while the client consumes it.
            messages.append({"role": "user", "content": questions})
            record.messages = messages
            record.size += size + questions_size

    def read_response(self, record: Generation, response: object) -> None:
        members = all_members_of(response)
        read_head(record, members)
        read_tail(record, members)
        # An answer of any kind (probability, choice, score) is kept as it is: a part of its own type.
        answers = list(items_of(members, "answers"))
        if record.wants_answer and answers:
            parts: list[Mapping[str, object]] = [
                part for answer in answers if isinstance(part := shallow(answer), dict)
            ]
            record.choices = [Choice(media=parts)]
            # Small, and few: the text of a part is near enough to what it takes.
            record.size += sum(len(str(part)) for part in parts)
        note_error(record, members)
