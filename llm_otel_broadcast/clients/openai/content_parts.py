"""Answers whose content is no plain text: a list of parts (Mistral's reasoning models, citations), one part, any JSON value."""

from __future__ import annotations

from typing import Any, Final

from llm_otel_broadcast.clients.answer_texts import Allowance, TextPieces
from llm_otel_broadcast.clients.openai.responses.items import shallow
from llm_otel_broadcast.clients.reader import Members, all_members_of, json_text, members_of, text_of, text_within
from llm_otel_broadcast.record.media import Part, link

_REASONING: Final = frozenset({"reasoning", "reasoning_content", "reasoning_text", "summary_text", "thinking"})
_TEXTS: Final = frozenset({"input_text", "output_text", "text"})
_UNREADABLE: Final = frozenset({"redacted_thinking", "reasoning.encrypted"})
"""Reasoning that only the provider can read."""
_MAX_OTHERS: Final = 1_024


class MessageTexts:
    """The texts of one choice, and what else its content has; whole or in pieces.

    Args:
        allowance: how much they may hold, together with the other choices'.
    """

    __slots__ = ("allowance", "content", "others", "reasoning", "refusal")

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.content = allowance.new_text()
        self.reasoning = allowance.new_text()
        self.refusal = allowance.new_text()
        self.others: list[Part] = []
        """Parts that are no text: links to images, citations."""

    def take(self, content: Any) -> None:
        """Take a message's content, or a piece of it."""
        if isinstance(content, str):
            self._add(self.content, content)
        elif isinstance(content, list | tuple):
            for part in content:
                self._take_part(part)
        elif content is not None:
            self._take_part(content)

    def _take_part(self, part: Any) -> None:
        members = all_members_of(part)
        kind = members.get("type")
        if not isinstance(kind, str):
            self._take_untyped(part, members)
        elif kind in _REASONING:
            self._add(self.reasoning, text_within(members))
        elif kind == "refusal":
            self._add(self.refusal, text_within(members.get("refusal")) or text_within(members))
        elif kind in _TEXTS or isinstance(members.get("text"), str):
            self._add(self.content, text_within(members))
        elif kind == "image_url":
            url = members.get("image_url")
            url = text_of(url) or text_of(members_of(url).get("url"))
            self.others += [link(url, "image")] if url else []
        elif kind not in _UNREADABLE and len(self.others) < _MAX_OTHERS:
            self.others.append({str(name): shallow(value) for name, value in members.items() if value is not None})

    def _take_untyped(self, part: Any, members: Members) -> None:
        """Take a text, a part that does not say what it is, or a value: that as JSON, never as Python writes it."""
        text = part if isinstance(part, str) else text_of(members.get("text")) or json_text(members or part)
        self._add(self.content, text)

    def _add(self, texts: TextPieces, piece: str | None) -> None:
        if piece:
            texts.append(piece)
            self.allowance.count(piece)
