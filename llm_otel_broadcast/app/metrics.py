"""The GenAI client metrics in the app's own meter provider, if the app has one; recorded in the background.

Names, units and buckets are those of opentelemetry-util-genai 1.3b0 (spec/genai-conventions, "Metrics"); `gen_ai.client.cost` is
ours. No attribute has a value of its own for each call.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.scope_name import SCOPE_NAME
from llm_otel_broadcast.record.usage import Cost

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, MeterProvider

# As opentelemetry-util-genai has them, so that dashboards made for it fit.
_SECONDS: Final = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
_TOKENS: Final = [4**power for power in range(14)]
_HISTOGRAMS: Final = {
    "duration": ("gen_ai.client.operation.duration", "s", "Duration of a GenAI operation.", _SECONDS),
    "tokens": ("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", _TOKENS),
    "first_chunk": (
        "gen_ai.client.operation.time_to_first_chunk",
        "s",
        "Time from the request to the first chunk of a streamed answer.",
        _SECONDS,
    ),
    "chunk": (
        "gen_ai.client.operation.time_per_output_chunk",
        "s",
        "Time from one chunk of a streamed answer to the next.",
        _SECONDS,
    ),
}
_MAX_TEXT_CHARS: Final = 256
_API: Final = sys.modules.get("opentelemetry.metrics._internal")
_UNKNOWN: Final = object()


class AppMetrics:
    """Records finished generations in the app's meter; looks the provider up at each call, because the app may set it late."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._provider: object = None
        self._histograms: dict[str, Histogram] = {}
        self._cost: Counter | None = None

    @staticmethod
    def provider() -> MeterProvider | None:
        """Return the app's meter provider, None while it has none. Never makes the API load one."""
        # The API's own variable: its function loads a provider when the environment names one, and costs more.
        # An app may import it after us: to look whether the environment names a provider takes two microseconds.
        api = _API or sys.modules.get("opentelemetry.metrics._internal")
        current: MeterProvider | None = getattr(api, "_METER_PROVIDER", _UNKNOWN)  # type: ignore[arg-type]
        if current is not _UNKNOWN:
            return current
        # An app that has not imported the API has no provider there; to import it takes three milliseconds.
        # While another thread imports it, it has not all of its names.
        get_provider = getattr(sys.modules.get("opentelemetry.metrics"), "get_meter_provider", None)
        if get_provider is None or "OTEL_PYTHON_METER_PROVIDER" in os.environ:
            return None
        provider: MeterProvider = get_provider()
        # The API's own stand-in, which the app may yet replace, cannot be flushed.
        return provider if hasattr(provider, "force_flush") else None

    def record(self, record: Generation, cost: Cost | None) -> None:
        """Record a finished, settled generation; `cost` is what it costs, stated or estimated."""
        provider = self.provider()
        if provider is None:
            return
        if provider is not self._provider:
            # The provider's locks, which a child that is forked meanwhile would find held for good.
            with importing:
                self._make_instruments(provider)
        stated = {
            "gen_ai.operation.name": record.operation,
            "gen_ai.provider.name": record.server.provider or None,
            "gen_ai.request.model": record.request_model,
            "gen_ai.response.model": record.response_model,
            "server.address": record.server.address or None,
            "server.port": record.server.port,
        }
        # A meter provider keeps each set of attributes for good, and the answering server chooses one of these texts.
        attributes = {
            name: value[:_MAX_TEXT_CHARS] if isinstance(value, str) else value
            for name, value in stated.items()
            if value is not None
        }
        ended = {**attributes, "error.type": record.failure.type} if record.failure else attributes
        self._histograms["duration"].record((record.end_ns - record.start_ns) / 1e9, ended)
        if record.first_chunk_ns is not None:
            self._histograms["first_chunk"].record(record.first_chunk_ns / 1e9, attributes)
        for previous_ns, next_ns in pairwise(record.chunk_times or ()):
            self._histograms["chunk"].record((next_ns - previous_ns) / 1e9, attributes)
        if record.usage is not None:
            counts = {"input": record.usage.input_tokens, "output": record.usage.output_tokens}
            for token_type, count in counts.items():
                if count is not None:
                    self._histograms["tokens"].record(count, {**attributes, "gen_ai.token.type": token_type})
        if cost is not None and self._cost is not None:
            self._cost.add(cost.total, attributes)

    def _make_instruments(self, provider: MeterProvider) -> None:
        meter = provider.get_meter(SCOPE_NAME, self._version)
        for key, (name, unit, description, buckets) in _HISTOGRAMS.items():
            create = partial(meter.create_histogram, name, unit=unit, description=description)
            try:
                self._histograms[key] = create(explicit_bucket_boundaries_advisory=buckets)
            except TypeError:
                # An older API takes no advice on buckets.
                self._histograms[key] = create()
        self._cost = meter.create_counter("gen_ai.client.cost", unit="USD", description="What GenAI operations cost.")
        self._provider = provider
