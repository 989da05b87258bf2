"""Another instrumentation and ours together: one span each, none doubled. Run by `nox -s stacked`, which installs the other."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

OTHERS = ("opentelemetry.instrumentation.genai.openai", "opentelemetry.instrumentation.openai_v2")


def is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


INSTALLED = [module for module in OTHERS if is_there(module)]
pytestmark = pytest.mark.skipif(not INSTALLED, reason="needs another instrumentation: nox -s stacked")


@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize("conventions", ["", "gen_ai_latest_experimental"])
@pytest.mark.parametrize("module", INSTALLED)
def test_each_makes_one_span_of_each_call(module, conventions, first):
    """P24: the app's tracer has theirs, our destinations have ours; whoever comes first, and after theirs has gone."""
    environment = {**os.environ, "OTEL_SEMCONV_STABILITY_OPT_IN": conventions}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.parity.stacked_program", module, first],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert "Failed to detach" not in done.stderr
    seen = json.loads(done.stdout)
    assert len(seen.pop("theirs off")["ours"]) == 1
    assert seen.pop("both off")["ours"] == []
    for call, spans in seen.items():
        assert len(spans["ours"]) == 1, call
        assert len(spans["app"]) == 1, call
        assert spans["app"] != ["llm_otel_broadcast"], call
