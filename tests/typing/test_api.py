"""The public types, as mypy sees them in a program that has us installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

API = Path(__file__).parent / "api.py"


def check(path, tmp_path):
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--strict", f"--cache-dir={tmp_path / 'cache'}", str(path)],
        cwd=tmp_path,  # where the package is an installed one, not our own source
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


def test_the_public_types_are_what_a_user_needs(tmp_path):
    pytest.importorskip("mypy")
    done = check(API, tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_check_can_fail(tmp_path):
    pytest.importorskip("mypy")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from llm_otel_broadcast import traced_generation\n@traced_generation\ndef f() -> int: ...\nf('x')\n"
    )
    assert "Too many arguments" in check(wrong, tmp_path).stdout
