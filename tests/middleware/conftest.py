"""A model that lasts as long as the servers that call it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stand_in.server import StandIn


@pytest.fixture(scope="package")
def base_url() -> Iterator[str]:
    """Where the applications' model is."""
    with StandIn() as running:
        yield running.base_url


@pytest.fixture
def arrived(receiver, arrived):
    """A request may end after its answer: wait for that many spans, then see that they are all."""

    def read(count=None):
        if count:
            receiver.store.wait_for(count, 15)
        return arrived(count)

    return read


@pytest.fixture
def traced(arrived):
    """Return the root and the other spans of a single trace."""

    def read(count):
        spans = arrived(count)
        assert len({span.trace_id for span in spans}) == 1, [span.name for span in spans]
        (root,) = [span for span in spans if span.parent_span_id not in {other.span_id for other in spans}]
        return root, [span for span in spans if span is not root]

    return read
