"""The command line as a user meets it."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
import time

import pytest
from rich.console import Console

from llm_otel_broadcast.cli import demonstration
from llm_otel_broadcast.receiver.server import Reply
from tests.support.installed_programs import free_port


def run(*arguments: str, module: str = "llm_otel_broadcast", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def demo():
    done = run("demo")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "shown",
    [
        "Chat Handler",
        "Generate Response  openai/gpt-4o",
        "user user_12345  session session_abc  environment=staging  deployment=us-east-1",
        "chat gpt-4o-mini",
        "(estimated)",
        "first chunk after",
        "in (256 cached), ",
        "RateLimitError 429",
        "Summarise five pages at once",
    ],
)
def test_the_demo_shows(demo, shown):
    assert shown in demo


def test_the_demo_ends_with_the_books(demo):
    (line,) = [line for line in demo.splitlines() if "embedded receiver" in line]
    produced, delivered, retried, dropped, queued = line.split()[-5:]
    assert produced == delivered != "0"
    assert (retried, dropped, queued) == ("0", "0", "0")


def test_the_demos_trees_hang_children_below_their_parents(demo):
    lines = demo.splitlines()
    root = next(number for number, line in enumerate(lines) if "Weather agent" in line)
    assert lines[root].startswith("└── ")
    assert lines[root + 1].startswith("    ├── Choose a tool")
    assert lines[root + 2].startswith("    └── Answer")


def test_the_demo_sends_the_same_to_another_backend(receiver):
    done = run("demo", "--endpoint", receiver.endpoint, "--header", "X-Team=red")
    assert done.returncode == 0, done.stderr
    assert {"Chat Handler", "Generate Response", "Page 5"} <= {span.name for span in receiver.store.spans()}
    assert receiver.requests[0].headers["x-team"] == "red"


def test_the_demo_says_when_the_other_backend_took_nothing_and_why(receiver):
    receiver.script(*(Reply(401) for _ in range(20)))
    done = run("demo", "--endpoint", receiver.endpoint)
    assert done.returncode == 1
    assert "Chat Handler" in done.stdout
    assert "check the API key" in done.stdout
    assert done.stdout.endswith("Not everything has arrived.\n")


def test_the_demo_waits_for_a_dead_backend_but_not_long_and_shows_the_traces_all_the_same():
    dead = f"http://127.0.0.1:{free_port()}"
    started = time.monotonic()
    done = run("demo", "--endpoint", dead)
    assert time.monotonic() - started < 20
    assert done.returncode == 1
    assert "Chat Handler" in done.stdout
    assert "connection refused" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_demo_waits_for_a_backend_that_answers_late(receiver):
    """MLflow's first answer takes 7 s; the demo said that everything was lost when it had arrived."""
    receiver.script(Reply(200, delay=7, store=True))
    done = run("demo", "--endpoint", receiver.endpoint)
    assert done.returncode == 0, done.stdout
    assert "dropped" not in done.stdout.splitlines()[-3]


def test_the_demo_speaks_of_no_loss_where_the_answer_was_only_late(receiver, monkeypatch):
    monkeypatch.setattr(demonstration, "_LATE_WAIT_S", -9.0)
    receiver.script(*[Reply(200, delay=20, store=True)] * 3)
    console = Console(file=io.StringIO(), width=120)
    assert not demonstration.run(console, receiver.endpoint, {})
    shown = console.file.getvalue()
    assert "they may have arrived" in shown
    assert shown.endswith("Your backend has not answered in time; it may have everything.\n")


def test_a_second_demo_makes_traces_of_its_own(receiver):
    for _ in range(2):
        run("demo", "--endpoint", receiver.endpoint)
    roots = [span for span in receiver.store.spans() if span.name == "Chat Handler"]
    assert len({root.trace_id for root in roots}) == 2


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
@pytest.mark.parametrize("command", [["destinations", "test"], ["send-test-trace"]], ids=" ".join)
def test_the_marks_are_letters_where_the_output_cannot_have_signs(receiver, command, encoding):
    done = run(*command, "--endpoint", receiver.endpoint, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok " in done.stdout


def test_a_name_that_the_output_cannot_have_is_shown_with_question_marks(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('[[destinations]]\nname = "\u6771\u4eac"\nendpoint = "http://127.0.0.1:4318"\n', encoding="utf-8")
    done = run("destinations", "list", PYTHONIOENCODING="cp1252", LLM_OTEL_BROADCAST_CONFIG=str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert "?? " in done.stdout


def test_a_reader_that_goes_away_leaves_no_traceback():
    command = f"{shlex.quote(sys.executable)} -m llm_otel_broadcast demo | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == "Real calls of the openai client, and the traces that arrived\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("demo", "--endpoint", "localhost:4318"), "needs http:// or https:// in front"),
        (("demo", "--header", "a=b"), "--header needs --endpoint"),
        (("demo", "--endpoint", "http://x", "--header", "secret"), "not KEY=VALUE"),
        (("dmeo",), "No such command"),
    ],
)
def test_a_wrong_argument_is_named(arguments, said):
    done = run(*arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_the_demo_says_that_everything_is_turned_off(monkeypatch):
    monkeypatch.setenv("LLM_OTEL_BROADCAST_DISABLED", "true")
    done = run("demo")
    assert done.returncode == 1
    assert "LLM_OTEL_BROADCAST_DISABLED is true" in done.stderr


@pytest.mark.parametrize("command", ["demo", "run"])
def test_help_names_the_commands(command):
    assert command in run("--help").stdout


def test_without_the_extra_the_fix_is_named():
    program = "import sys; sys.modules['click'] = None; from llm_otel_broadcast.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert "pip install 'llm-otel-broadcast[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
