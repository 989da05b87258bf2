"""What lists of traces show of an enclosing span: what was asked first below it, and answered last, as one destination may have it.

Made of content that has been narrowed, redacted and cut for that destination, so that nothing else can be in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from llm_otel_broadcast.delivery.privacy import View
from llm_otel_broadcast.delivery.unwanted import is_system
from llm_otel_broadcast.fields.json_cut import cut
from llm_otel_broadcast.fields.json_text import plain, plain_json
from llm_otel_broadcast.host.bounded import BoundedDict
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.enclosing_facts import EnclosingContent, Excerpt
from llm_otel_broadcast.record.enclosing_span import EnclosingKind, EnclosingSpan
from llm_otel_broadcast.record.function_content import FunctionContent
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.media import Part

# A list shows a line or two; the whole text is on the generation.
_MAX_EXCERPT_CHARS: Final = 1_000
_MIN_JSON_CHARS: Final = 120
# Spans that are open at a time, mostly; two excerpts each.
_MAX_ENTRIES: Final = 1_000
_CUT: Final = "…"
# No set, of which a list could not be asked: what a caller gives as a type may be anything.
_TEXT_TYPES: Final = ("text", "refusal")
_MODELS_EAT: Final = frozenset({"tool", "retriever"})
"""Kinds of functions whose arguments a model wrote, or whose results it reads: they are in its outputs and inputs, too."""


@dataclass(slots=True)
class _Exchange:
    """What was asked first below a span, and answered last; the times tell which that is."""

    question: str = ""
    asked_ns: int = 0
    answer: str = ""
    answered_ns: int = 0


class Exchanges:
    """What was asked and answered below enclosing spans of one destination. Used by its lane's thread; bounded."""

    def __init__(self) -> None:
        self._exchanges: BoundedDict[tuple[int, int], _Exchange] = BoundedDict(_MAX_ENTRIES)

    def note(self, record: Generation, content: Content, max_chars: int) -> None:
        """Take what a generation that is sent says, for each span around it.

        Args:
            record: the generation.
            content: what is sent of its content.
            max_chars: length of one text, at most.
        """
        if not record.enclosing_spans:
            return
        max_chars = min(max_chars, _MAX_EXCERPT_CHARS)
        question, answer = _cut(question_in(content.inputs), max_chars), _cut(answer_in(content.outputs), max_chars)
        for enclosing_span in record.enclosing_spans:
            exchange = self._exchanges.setdefault((enclosing_span.trace_id, enclosing_span.span_id), _Exchange())
            # Calls side by side arrive as they end.
            if question and (not exchange.question or record.start_ns < exchange.asked_ns):
                exchange.question, exchange.asked_ns = question, record.start_ns
            if answer and record.end_ns >= exchange.answered_ns:
                exchange.answer, exchange.answered_ns = answer, record.end_ns

    def content_of(self, enclosing_span: EnclosingSpan) -> EnclosingContent:
        """Return what has been noted for a span."""
        exchange = self._exchanges.get((enclosing_span.trace_id, enclosing_span.span_id)) or _Exchange()
        return EnclosingContent(Excerpt(exchange.question), Excerpt(exchange.answer))


def function_content_for(
    kind: EnclosingKind, function_content: FunctionContent, view: View | None, max_chars: int
) -> EnclosingContent:
    """Return what is sent of a function's arguments and result.

    Args:
        kind: what the function is.
        function_content: its arguments and result.
        view: what they have to pass through; None: they are sent as they are.
        max_chars: length of each, at most.

    Raises:
        WithheldError: nothing may be sent.
    """
    hidden = view.hides if view is not None else frozenset()
    both = hidden & {"inputs", "outputs"} if kind in _MODELS_EAT else frozenset()
    # A tool's arguments by name, also where there is one only: so have models written them.
    argument = function_content.inputs or None if kind == "tool" else function_content.argument()
    if both or "inputs" in hidden or (kind == "tool" and "tool_arguments" in hidden):
        argument = None
    result = None if both or "outputs" in hidden else function_content.result()
    return EnclosingContent(_excerpt(argument, view, max_chars), _excerpt(result, view, max_chars), is_of_function=True)


def _excerpt(value: object, view: View | None, max_chars: int) -> Excerpt:
    """Return a value of the program's own as a text: itself, or JSON."""
    if value is None:
        return Excerpt()
    json_value = plain(value)
    if view is not None:
        json_value = view.change_texts(json_value)
    max_chars = max(max_chars, _MIN_JSON_CHARS)
    if isinstance(json_value, str):
        return Excerpt(str(cut(json_value, max_chars)))
    return Excerpt(plain_json(json_value, max_chars)[0], is_json=True)


def question_in(messages: Sequence[Part]) -> str:
    """Return the text of the newest message of a user's, else of the newest that has any and is no instruction."""
    by_users = [message for message in messages if message.get("role") == "user"]
    others = [message for message in messages if not is_system(message.get("role"))]
    return next(filter(None, map(_text_of, (*reversed(by_users), *reversed(others)))), "")


def answer_in(messages: Sequence[Part]) -> str:
    """Return the text of the first answer that has any, else which tools it calls."""
    text = next(filter(None, map(_text_of, messages)), "")
    return text or "\n".join(call for message in messages for call in _calls_of(message))


def _text_of(message: Part) -> str:
    texts = (part.get("content") for part in _parts_of(message) if part.get("type") in _TEXT_TYPES)
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def _calls_of(message: Part) -> Iterator[str]:
    for part in _parts_of(message):
        if part.get("type") == "tool_call":
            arguments = part.get("arguments")
            text = arguments if isinstance(arguments, str) or arguments is None else plain_json(arguments)[0]
            yield f"{part.get('name')}({text or ''})"


def _parts_of(message: Part) -> list[Part]:
    parts = message.get("parts")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _cut(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else text[: max_chars - 1] + _CUT
