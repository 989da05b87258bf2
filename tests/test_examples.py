"""The examples run as they stand."""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

TREES = {
    "agent.py": {
        ("invoke_agent Travel agent", None),
        ("retrieval travel guide", "invoke_agent Travel agent"),
        ("execute_tool get_weather", "invoke_agent Travel agent"),
        ("chat openai/gpt-4o-mini", "invoke_agent Travel agent"),
        ("Nightly job", None),
    },
    "trace_context.py": {
        ("Research request", None),
        ("Gather", "Research request"),
        ("Search", "Gather"),
        ("Summarise", "Research request"),
    },
    "traced_generation.py": {
        ("Chat Handler", None),
        ("answer", "Chat Handler"),
        ("Generate Response", "answer"),
        ("Local model", None),
    },
    "worker.py": {
        ("Report", None),
        ("chat openai/gpt-4o-mini", "Report"),
        ("Job", "Report"),
        ("chat openai/gpt-4o-mini", "Job"),
    },
}
"""Names of spans and of the spans above them."""


def tree(spans):
    names = {(span.trace_id, span.span_id): span.name for span in spans}
    return {(span.name, names.get((span.trace_id, span.parent_span_id))) for span in spans}


def run(name, receiver, stand_in):
    environment = {
        **os.environ,
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": stand_in.base_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint.removesuffix("/v1/traces"),
        "FIRST_ENDPOINT": receiver.endpoint,
        "SECOND_ENDPOINT": receiver.endpoint,
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "delivered" in done.stdout
    assert "not delivered" not in done.stdout
    return receiver.store.wait_for(1)


WEB = {"fastapi_app.py": "POST /chats/{chat}", "flask_app.py": "POST /chats/<int:chat>"}


@pytest.mark.parametrize("name", sorted({path.name for path in EXAMPLES.glob("*.py")} - set(WEB)))
def test_an_example_runs_and_its_traces_arrive(name, receiver, stand_in):
    spans = run(name, receiver, stand_in)
    assert tree(spans) == TREES.get(name, tree(spans))


@pytest.mark.parametrize("name", WEB)
def test_an_example_of_a_web_application_is_one_trace_for_each_request(name, receiver, stand_in):
    root, call = sorted(run(name, receiver, stand_in), key=lambda span: span.parent_span_id)
    assert (root.name, root.parent_span_id) == (WEB[name], "")
    assert (call.name, call.parent_span_id) == ("chat gpt-4o-mini", root.span_id)
    for span in (root, call):
        assert (span.attributes["session.id"], span.attributes["user.id"]) == ("session_abc", "ada")
        assert span.attributes["trace.metadata.environment"] == "staging"


def test_the_example_without_code_is_traced_by_the_command_in_its_docstring(receiver, stand_in):
    source = (EXAMPLES / "no_code" / "app.py").read_text(encoding="utf-8")
    assert "llm_otel_broadcast" not in source.replace(ast.get_docstring(ast.parse(source)), "")
    (line,) = [line.strip() for line in source.splitlines() if line.startswith("    llm-otel-broadcast run ")]
    command = shlex.split(line.replace("http://localhost:4318", receiver.endpoint))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": stand_in.base_url,
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "llm_otel_broadcast", *command[1:]],
        cwd=EXAMPLES.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [span.name for span in receiver.store.spans()] == ["chat gpt-4o-mini"]
