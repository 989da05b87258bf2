"""The destinations' books in the app's own meter provider, if the app has one: read when its readers collect, never on a call's way.

OpenTelemetry's conventions have such metrics for its own SDK, `otel.sdk.processor.span.*` and `otel.sdk.exporter.span.*`. Those
count the spans of the app's SDK; ours are named after them, under a name of our own, as the app would otherwise find records of
ours among its spans. As there, `error.type` is the reason of a loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from llm_otel_broadcast.app.metrics import AppMetrics
from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.record.scope_name import SCOPE_NAME
from llm_otel_broadcast.runtime.runs import registry
from llm_otel_broadcast.runtime.totals import Totals
from llm_otel_broadcast.version import __version__

_PREFIX: Final = "llm_otel_broadcast.destination"
_DESTINATION: Final = f"{_PREFIX}.name"
# One collection reads all instruments, within moments.
_COLLECTION_S: Final = 1.0
_REGISTERING: Final = Guard("giving the app's meter provider the books")
_READING: Final = Guard("reading the books for the app's metrics")


@dataclass(frozen=True, slots=True)
class _Instrument:
    """One instrument.

    Attributes:
        name: without the prefix.
        subject: of the figures that it shows, see `Figure`.
        description: for the app's backend.
        is_counter: it never goes down.
        unit: of its values.
        reason_key: the attribute for the reason, where it is counted by reason.
    """

    name: str
    subject: str
    description: str
    is_counter: bool = True
    unit: str = "{record}"
    reason_key: str = ""


_INSTRUMENTS: Final = (
    _Instrument("record.produced", "produced", "Records that were handed over for the destination."),
    _Instrument("record.delivered", "delivered", "Records that the destination has taken."),
    _Instrument("record.dropped", "dropped", "Records that were lost.", reason_key="error.type"),
    _Instrument(
        "record.left_out",
        "left_out",
        "Records that the destination's settings leave out.",
        reason_key=f"{_PREFIX}.left_out.reason",
    ),
    _Instrument("record.retried", "retried", "Records of requests that were sent again."),
    _Instrument("queue.size", "queued_records", "Records that wait.", is_counter=False),
    _Instrument("queue.memory", "queued_bytes", "Memory of the records that wait.", is_counter=False, unit="By"),
    _Instrument("spool.size", "spooled", "Records of this process that wait on disk.", is_counter=False),
)


@dataclass(frozen=True, slots=True)
class _Collection:
    """The figures of one moment, for all instruments: so the books balance in what the app's backend is sent.

    Attributes:
        totals: the figures; empty where there is nothing to show.
        taken_s: when (monotonic).
        readers: the instruments that have shown them.
    """

    totals: Totals = field(default_factory=dict)
    taken_s: float = float("-inf")
    readers: set[str] = field(default_factory=set)


class BooksMetrics:
    """Gives the app's meter provider the instruments once it has one."""

    def __init__(self) -> None:
        self._provider: MeterProvider | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a child process: the figures are the parent's; the provider has the instruments already."""
        self._collection = _Collection()
        self._last_totals: Totals = {}

    def register(self) -> None:
        """Make the instruments if the app has a meter provider that has not got them. For a lane's thread."""
        provider = AppMetrics.provider()
        if provider is None or provider is self._provider:
            return
        # The provider's locks, which a child forked now would find held for good; and one lane at a time.
        with importing, _REGISTERING:
            if provider is self._provider:
                return
            # Instruments cannot be taken back: they are made once, and show nothing while nothing is recorded.
            self._provider = provider
            meter = provider.get_meter(SCOPE_NAME, __version__)
            for instrument in _INSTRUMENTS:
                create = (
                    meter.create_observable_counter
                    if instrument.is_counter
                    else meter.create_observable_up_down_counter
                )
                create(
                    f"{_PREFIX}.{instrument.name}",
                    callbacks=[self._reader(instrument)],
                    unit=instrument.unit,
                    description=instrument.description,
                )

    def _reader(self, instrument: _Instrument) -> Callable[[CallbackOptions], list[Observation]]:
        def read(_options: CallbackOptions) -> list[Observation]:
            collection, key = self._collection, instrument.reason_key
            with _READING:
                # The figures that the other instruments of this collection have shown, or new ones.
                if instrument.name in collection.readers or time.monotonic() - collection.taken_s > _COLLECTION_S:
                    totals = registry.totals()
                    # Nothing once nobody records and the last figures have been collected: a short program shuts us down
                    # before its provider, which is to have what became of the last records.
                    has_ended = totals == self._last_totals and not registry.is_needed
                    self._last_totals = totals
                    collection = self._collection = _Collection({} if has_ended else totals, time.monotonic())
                collection.readers.add(instrument.name)
                return [
                    Observation(value, {_DESTINATION: destination} | ({key: figure.reason} if key else {}))
                    for destination, figures in collection.totals.items()
                    for figure, value in figures.items()
                    if figure.subject == instrument.subject
                ]
            return []

        return read


books_metrics: Final = BooksMetrics()
begin_anew_in_child(books_metrics.begin_anew)
