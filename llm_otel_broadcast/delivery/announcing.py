"""Showing each finished generation to the program's own `on_generation` before anything is sent, once, in the background."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llm_otel_broadcast.forks import importing
from llm_otel_broadcast.generation import Generation
from llm_otel_broadcast.guard import Callback
from llm_otel_broadcast.suppression import untraced
from llm_otel_broadcast.usage import Cost, Usage

_turn = threading.RLock()
"""One generation is shown at a time, whichever lane comes first; the others wait for what is added."""


def _after_fork() -> None:
    global _turn  # noqa: PLW0603  # a thread that is not in the child may hold the old one
    _turn = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


class FinishedGeneration:
    """A finished generation as `on_generation` is shown it. Everything but `operation` may be None: unknown is absent.

    Attributes:
        attributes: put in here what is to be on its span at every destination: texts, numbers, truth values, lists of them;
            anything else becomes JSON text.
    """

    def __init__(self, record: Generation, cost: Cost | None) -> None:
        self._record = record
        self._cost = cost
        self.attributes: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"<FinishedGeneration {self.name!r} {self.trace_id}/{self.span_id}>"

    @property
    def name(self) -> str:
        """The name of the span."""
        return self._record.name

    @property
    def operation(self) -> str:
        """`chat`, `embeddings`, ...: `gen_ai.operation.name`."""
        return self._record.operation

    @property
    def provider(self) -> str:
        """Whom the call went to: `gen_ai.provider.name`."""
        return self._record.server.provider

    @property
    def model(self) -> str | None:
        """The model that was asked for."""
        return self._record.request_model

    @property
    def response_model(self) -> str | None:
        """The model that answered."""
        return self._record.response_model

    @property
    def response_id(self) -> str | None:
        """The provider's id of the answer."""
        return self._record.response_id

    @property
    def input_tokens(self) -> int | None:
        """Tokens of what was asked."""
        return self._usage.input_tokens

    @property
    def output_tokens(self) -> int | None:
        """Tokens of the answer."""
        return self._usage.output_tokens

    @property
    def total_tokens(self) -> int | None:
        """Both."""
        return self._usage.total_tokens

    @property
    def cost(self) -> float | None:
        """USD, as stated, else estimated."""
        return self._cost.total if self._cost else None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self._record.end_ns - self._record.start_ns) / 1e9

    @property
    def finish_reasons(self) -> Sequence[str]:
        """Why each choice ended."""
        return [choice.finish_reason for choice in self._record.choices if choice.finish_reason]

    @property
    def error(self) -> str | None:
        """The type of the error that it ended in; None: it ended well."""
        return self._record.failure.type if self._record.failure else None

    @property
    def session_id(self) -> str | None:
        """The session that it belongs to."""
        return self._record.fields.session_id

    @property
    def user(self) -> str | None:
        """Whom it is for."""
        return self._record.fields.user

    @property
    def metadata(self) -> Mapping[str, object]:
        """What the caller said in `trace` beyond the keys that have a meaning."""
        return dict(self._record.fields.metadata)

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return f"{self._record.trace_id:032x}"

    @property
    def span_id(self) -> str:
        """16 hex digits."""
        return f"{self._record.span_id:016x}"

    @property
    def _usage(self) -> Usage:
        return self._record.usage or Usage()


class Announcer:
    """Calls `on_generation` once for each generation. What it calls itself is not traced: it could go on for ever."""

    def __init__(self, function: Callable[[FinishedGeneration], Any]) -> None:
        self._call = Callback("on_generation", function, "what it added is left out, the span is sent")

    def announce(self, record: Generation, cost: Cost | None) -> None:
        """Show the record, unless that has been done; `record.attributes` is what was added."""
        if record.attributes is not None:
            return
        with importing.released(), _turn:
            if record.attributes is None:
                shown = FinishedGeneration(record, cost)
                with untraced():
                    well, _ = self._call(shown)
                record.attributes = dict(shown.attributes) if well and isinstance(shown.attributes, dict) else {}
