"""A provider of the app's, and processors at it that send to the receiver."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from llm_otel_broadcast import BroadcastSpanProcessor, Destination, instrument
from tests.support.books import balanced


@pytest.fixture
def provider():
    """A provider of the app's, not the global one."""
    made = TracerProvider(resource=Resource({"service.name": "their-app", "host.name": "h1"}), shutdown_on_exit=False)
    yield made
    made.shutdown()


@pytest.fixture
def tracer(provider):
    return provider.get_tracer("their.instrumentation", "4.2")


@pytest.fixture
def own(provider, receiver):
    """Add a processor with a destination of its own, the receiver; return how to read what arrived."""

    def start(**options):
        names = {"all_spans"}
        mine = Destination(
            name="mine",
            endpoint=receiver.endpoint,
            batch_delay=0.0,
            **{name: value for name, value in options.items() if name not in names},
        )
        processor = BroadcastSpanProcessor(
            destinations=[mine], **{name: value for name, value in options.items() if name in names}
        )
        provider.add_span_processor(processor)

        def read(count=None):
            assert provider.force_flush(5_000)
            spans = receiver.store.spans()
            assert count is None or len(spans) == count, [span.name for span in spans]
            assert all(balanced(books) for books in processor.status())
            return spans

        read.processor = processor
        return read

    return start


@pytest.fixture
def beside(provider, tracer, receiver):
    """`instrument()` and a processor that shares its destination."""
    handle = instrument(
        destinations=[Destination(endpoint=receiver.endpoint, batch_delay=0.0)], tracer_provider=provider
    )
    provider.add_span_processor(BroadcastSpanProcessor())

    def read(count=None):
        assert provider.force_flush(5_000)
        assert handle.flush()
        spans = receiver.store.spans()
        assert count is None or len(spans) == count, [span.name for span in spans]
        return {span.name: span for span in spans}

    return read
