"""A settings file, and a way to run commands on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_otel_broadcast.cli.app import cli
from llm_otel_broadcast.settings.locations import CONFIG
from tests.cli.commands import CANARY, Done


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "settings.toml"
    monkeypatch.setenv(CONFIG, str(path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "state"))
    monkeypatch.delenv("TOKEN", raising=False)
    return path


@pytest.fixture
def run(file, capsys) -> Callable[..., Done]:
    """Run a command; none of them may show a secret."""

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            cli(arguments, prog_name="llm-otel-broadcast")
        said = capsys.readouterr()
        assert CANARY not in said.out + said.err
        assert "Traceback" not in said.err
        return Done(ended.value.code or 0, said.out, said.err)

    return run
