"""Reading `completions`, the legacy API: a prompt instead of messages, a text instead of a message."""

from __future__ import annotations

import time
from typing import Any, Final

from llm_otel_broadcast.clients.answer_texts import Allowance, TextPieces
from llm_otel_broadcast.clients.openai.answers import read_head, read_tail
from llm_otel_broadcast.clients.openai.openrouter import native_reason_of, note_broken_choice, note_error, reasoning_of
from llm_otel_broadcast.clients.openai.text_inputs import note_inputs
from llm_otel_broadcast.clients.reader import (
    MAX_CHOICES,
    Reader,
    all_members_of,
    extras_of,
    items_of,
    json_text,
    members_of,
    parameters_of,
    text_of,
    text_within,
)
from llm_otel_broadcast.record.generation import Choice, Generation

PARAMETERS: Final = {
    name: name
    for name in (
        "frequency_penalty",
        "max_tokens",
        "n",
        "presence_penalty",
        "seed",
        "stop",
        "temperature",
        "top_k",
        "top_p",
    )
}


class CompletionReader(Reader):
    """Reads legacy completions."""

    operation = "text_completion"
    api = None

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.stream = kwargs.get("stream") is True
        record.wants_content = content
        record.parameters = parameters_of(kwargs, PARAMETERS)
        # Text, several texts, token ids, or several lists of them.
        note_inputs(record, kwargs, "prompt", content=content)

    def read_response(self, record: Generation, response: object) -> None:
        members = all_members_of(response)
        read_head(record, members)
        read_tail(record, members)
        record.choices = [
            _read_choice(choice, position, content=record.wants_answer)
            for position, choice in enumerate(items_of(members, "choices"))
        ]
        record.size += sum(len(choice.content or "") for choice in record.choices)
        note_error(record, members)
        note_broken_choice(record, items_of(members, "choices"))

    def fold(self, record: Generation) -> CompletionFold:
        return CompletionFold(record)


class CompletionFold:
    """Adds up the chunks of a streamed completion: each is a completion with a piece of the text."""

    __slots__ = ("_allowance", "_open", "_record")

    def __init__(self, record: Generation) -> None:
        self._record = record
        self._allowance = Allowance(record.max_characters)
        self._open: dict[int, tuple[Choice, TextPieces, TextPieces]] = {}
        """Each choice with its text and its reasoning, by index."""

    def add(self, chunk: object) -> bool:
        # Every chunk has all members of a whole completion, so that each is read like one.
        members = all_members_of(chunk)
        record = self._record
        read_head(record, members)
        choices = items_of(members, "choices")
        for position, choice_piece in enumerate(choices):
            # With content even where none is kept: the time of the first piece needs it.
            piece = _read_choice(choice_piece, position, content=True)
            opened = self._open.get(piece.index)
            if opened is None:
                # A server that numbers each chunk anew must not fill the memory.
                if len(self._open) >= MAX_CHOICES:
                    continue
                opened = (Choice(piece.index), self._allowance.new_text(), self._allowance.new_text())
                self._open[piece.index] = opened
            choice, text, reasoning = opened
            choice.finish_reason = piece.finish_reason or choice.finish_reason
            choice.native_finish_reason = piece.native_finish_reason or choice.native_finish_reason
            if record.first_chunk_ns is None and (piece.content or piece.reasoning):
                record.first_chunk_ns = time.perf_counter_ns() - record.started
            if not record.wants_answer:
                continue
            for pieces, piece_text in ((text, piece.content), (reasoning, piece.reasoning)):
                if piece_text:
                    pieces.append(piece_text)
                    self._allowance.count(piece_text)
        read_tail(record, members)
        note_error(record, members)
        # Only the chunk that our own request for usage made: a server may state usage beside choices in any chunk.
        return members.get("usage") is not None and record.hides_usage_chunk and not choices

    def finish(self) -> None:
        record = self._record
        record.choices = []
        self._allowance.note_omitted(record)
        # By index: the choices of `n > 1` come interleaved.
        for _, (choice, text, reasoning) in sorted(self._open.items()):
            choice.content, choice.reasoning = text.joined(), reasoning.joined()
            record.choices.append(choice)
            record.size += len(choice.content or "")
        note_broken_choice(record)


def _read_choice(choice: object, position: int, *, content: bool) -> Choice:
    members = members_of(choice)
    index, finish_reason = members.get("index"), members.get("finish_reason")
    answer = Choice(
        # Some servers leave the index out, or send it as a text: then the place among the choices tells.
        index=index if isinstance(index, int) else position,
        finish_reason=json_text(finish_reason) if finish_reason else None,
    )
    answer.native_finish_reason = native_reason_of(choice)
    if content:
        answer.content = text_within(members.get("text")) or None
        # Gateways put the reasoning of a model behind this API beside the text.
        answer.reasoning = reasoning_of(extras_of(choice))
    return answer
