"""Answers whose content is no plain text: a list of parts (Mistral's reasoning models, citations), one part, any JSON value."""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.clients.answer_texts import Allowance, TextPieces
from llm_otel_broadcast.clients.openai.responses.items import shallow
from llm_otel_broadcast.clients.reader import (
    MAX_ITEMS,
    all_members_of,
    json_text,
    members_of,
    note_unread,
    text_of,
    text_within,
)
from llm_otel_broadcast.record.media import Part, link

_REASONING: Final = frozenset({"reasoning", "reasoning_content", "reasoning_text", "summary_text", "thinking"})
_TEXTS: Final = frozenset({"input_text", "output_text", "text"})
# Anthropic's and OpenRouter's names.
_UNREADABLE: Final = frozenset({"redacted_thinking", "reasoning.encrypted"})
"""Reasoning that only the provider can read."""
_MAX_OTHER_PARTS: Final = 1_024


class MessageTexts:
    """The texts of one choice, and what else its content has; whole or in pieces.

    Args:
        allowance: how much they may hold, together with the other choices'.
    """

    __slots__ = ("_reasoning", "_refusal", "allowance", "content", "other_parts")

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.content = allowance.new_text()
        self._reasoning: TextPieces | None = None
        self._refusal: TextPieces | None = None
        self.other_parts: list[Part] = []
        """Parts that are no text: links to images, citations."""

    # Made when they are asked for: most answers have neither.
    @property
    def reasoning(self) -> TextPieces:
        """What the model thought."""
        if self._reasoning is None:
            self._reasoning = self.allowance.new_text()
        return self._reasoning

    @property
    def refusal(self) -> TextPieces:
        """Why it does not answer."""
        if self._refusal is None:
            self._refusal = self.allowance.new_text()
        return self._refusal

    def joined(self) -> tuple[str | None, str | None, str | None]:
        """Return content, reasoning and refusal, None where there is none."""
        reasoning, refusal = self._reasoning, self._refusal
        return (
            self.content.joined(),
            None if reasoning is None else reasoning.joined(),
            None if refusal is None else refusal.joined(),
        )

    def add(self, content: object) -> None:
        """Add a message's content, or a piece of it."""
        # OpenAI sends a text; Mistral's reasoning models a list of parts, in deltas as well.
        if isinstance(content, str):
            self.allowance.take(self.content.append(content))
        # No union, which would be made anew at each call.
        elif isinstance(content, (list, tuple)):
            if len(content) > MAX_ITEMS:
                note_unread(f"more than {MAX_ITEMS:,} parts of a message")
            for part in content[:MAX_ITEMS]:
                self._add_part(part)
        elif content is not None:
            self._add_part(content)

    def _add_part(self, part: object) -> None:
        members = all_members_of(part)
        kind = members.get("type")
        if not isinstance(kind, str):
            # A text, a part that does not say what it is, or a value: that as JSON, never as Python writes it.
            text = part if isinstance(part, str) else text_of(members.get("text")) or json_text(members or part)
            self._append(self.content, text)
        elif kind in _REASONING:
            self._append(self.reasoning, text_within(members))
        elif kind == "refusal":
            self._append(self.refusal, text_within(members.get("refusal")) or text_within(members))
        # A part of an unknown type that has a text is that text.
        elif kind in _TEXTS or isinstance(members.get("text"), str):
            self._append(self.content, text_within(members))
        elif kind == "image_url":
            # An object with the link (OpenAI), or the link itself (Mistral).
            url = members.get("image_url")
            url = text_of(url) or text_of(members_of(url).get("url"))
            if url:
                self._add_other(link(url, "image"))
        elif kind not in _UNREADABLE:
            self._add_other({str(name): shallow(value) for name, value in members.items() if value is not None})

    def _add_other(self, part: Part) -> None:
        if len(self.other_parts) < _MAX_OTHER_PARTS and self.allowance.admits_part(part):
            self.other_parts.append(part)

    def _append(self, text: TextPieces, piece: str | None) -> None:
        if piece:
            text.append(piece)
            self.allowance.count(piece)
