"""Setting the API's global meter provider for a while: the API itself allows it once a process only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.metrics import _internal
from opentelemetry.sdk.metrics import MeterProvider


@contextmanager
def global_meter_provider(provider: MeterProvider) -> Iterator[None]:
    before = _internal._METER_PROVIDER
    _internal._METER_PROVIDER = provider
    try:
        yield
    finally:
        _internal._METER_PROVIDER = before
        provider.shutdown()
