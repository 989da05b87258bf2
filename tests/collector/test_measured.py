"""The sizes that the arithmetic starts from are what the real encoder makes of real calls."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llm_otel_broadcast.collector import sizing
from tests.benchmarks.sizes import conversations, demo_calls, weigh
from tests.collector import traffic

DOCS = (Path(__file__).parent.parent.parent / "docs" / "scaling.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def conversation():
    return weigh(conversations)


def test_a_conversation_weighs_what_the_arithmetic_says(conversation):
    content, private = conversation["protobuf", False], conversation["protobuf", True]
    assert content.plain == pytest.approx(traffic.CONTENT_BYTES, rel=0.03)
    assert content.gzipped == pytest.approx(traffic.CONTENT_GZIPPED, rel=0.05)
    assert private.plain == pytest.approx(traffic.PRIVATE_BYTES, rel=0.1)
    # how many fit into one request, which makes most of it, is a matter of time
    assert private.gzipped == pytest.approx(traffic.PRIVATE_GZIPPED, rel=1)
    assert content.spans == sizing.SPANS_PER_GENERATION


def test_the_docs_name_the_weights_that_are_measured(conversation):
    for name, found in (("20 messages", conversation), ("demo", weigh(demo_calls))):
        for (encoding, private), weight in found.items():
            row = rf"\| {name}[^|]*\| {'without' if private else 'with'} content \| {encoding} \| ([\d,]+) \|"
            said = re.search(row, DOCS, re.IGNORECASE)
            assert said is not None, row
            assert weight.plain == pytest.approx(int(said[1].replace(",", "")), rel=0.1)
