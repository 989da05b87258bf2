"""Forks at bad moments: no child hangs, nothing arrives twice, nothing is missing. `nox -s soak -- forks` has 500 rounds."""

from __future__ import annotations

import os

import pytest

from tests.faults.fork_stress import LEAVING, WAYS, stress

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.timeout(180)
def test_no_fork_hangs_loses_or_doubles_a_call():
    """Each way of forking with each way of leaving, once, while a queue is full and requests are under way."""
    figures = stress(rounds=len(WAYS) * len(LEAVING), seed=20_261_128)
    assert figures["queue_full"] > 0
    assert figures["children"] >= len(WAYS) * len(LEAVING)
