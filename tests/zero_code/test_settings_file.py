"""Programs that know nothing of us, and a settings file."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import pytest

from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.settings.locations import CONFIG
from tests.support.deadlines import eventually
from tests.zero_code.programs import CALL, RUN, start, with_directory

FOLLOWING = """
import sys
import llm_otel_broadcast.runtime.reload
llm_otel_broadcast.runtime.reload._LOOK_INTERVAL_S = llm_otel_broadcast.runtime.reload._UNCHANGED_FOR_S = 0.05
import openai
client = openai.OpenAI()
for line in sys.stdin:
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": line}])
    print("called", flush=True)
"""


@pytest.fixture
def file(tmp_path, calling):
    path = tmp_path / "settings.toml"
    calling[CONFIG] = str(path)
    return path


def sending_to(receiver: OtlpReceiver) -> str:
    return f'[[destinations]]\nname = "here"\nendpoint = "{receiver.endpoint}"\nbatch_delay = 0\n'


def test_the_file_alone_says_where_traces_go(file, calling, receiver):
    file.write_text(sending_to(receiver))
    done = start(*RUN, "python", "-c", CALL, env=calling)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(receiver.store.wait_for(1)) == 1


def test_an_endpoint_on_the_command_line_wins_over_the_file(file, calling, receiver):
    file.write_text('[[destinations]]\nendpoint = "http://127.0.0.1:9"\n')
    done = start(*RUN, "--endpoint", receiver.endpoint, "python", "-c", CALL, env=calling)
    assert done.stderr == ""
    assert len(receiver.store.wait_for(1)) == 1


@pytest.mark.parametrize("by", ["run", "path"])
def test_a_broken_file_is_one_line_and_the_program_runs(file, calling, by):
    file.write_text('x = 1\n[[destinations]]\nname = "one"\nendpoint = "one"\n')
    program = ("python", "-c", CALL + "print('done')")
    environ = calling if by == "run" else with_directory(calling)
    done = start(*(RUN if by == "run" else ()), *program, env=environ)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr == (
        f'llm-otel-broadcast: {file}: "x" is no setting: there are enabled, defaults, destinations; '
        f'{file}: [[destinations]] "one": endpoint "one" needs http:// or https:// in front, e.g. "http://one"; '
        "the program runs untraced\n"
    )


def test_a_program_that_began_with_a_broken_file_is_traced_once_it_is_mended(file, calling, receiver):
    file.write_text("x = 1\n")
    with subprocess.Popen(
        [*RUN, "python", "-c", FOLLOWING], env=calling, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:

        def arrives() -> bool:
            program.stdin.write("Hello\n")
            program.stdin.flush()
            assert program.stdout.readline() == "called\n"
            return bool(receiver.store.spans())

        assert not arrives()
        file.write_text(sending_to(receiver))
        eventually(arrives, 10, "a call to arrive")
        program.stdin.close()
        assert program.wait(10) == 0


@pytest.fixture
def other_receiver():
    with OtlpReceiver() as running:
        yield running


def test_run_chooses_among_the_destinations_of_a_file_that_it_names(tmp_path, calling, receiver, other_receiver):
    file = tmp_path / "other.toml"
    file.write_text(
        f'[[destinations]]\nname = "one"\nendpoint = "{receiver.endpoint}"\nbatch_delay = 0\n'
        f'[[destinations]]\nname = "two"\nendpoint = "{other_receiver.endpoint}"\nbatch_delay = 0\n'
    )
    options = ["--config", file, "--to", "two", "--service-name", "shop", "--privacy-mode"]
    calling["LLM_OTEL_BROADCAST_ENDPOINT"] = "http://127.0.0.1:9"
    done = start(*RUN, *options, "python", "-c", CALL, env=calling)
    assert (done.returncode, done.stderr) == (0, "")
    (span,) = other_receiver.store.wait_for(1)
    assert receiver.store.spans() == []
    assert span.resource["service.name"] == "shop"
    assert "gen_ai.input.messages" not in span.attributes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--to", "nobody"], 'to: there is no destination "nobody" in '),
        (["--config", "/not/there.toml"], "/not/there.toml: LLM_OTEL_BROADCAST_CONFIG names this file"),
    ],
)
def test_what_run_is_asked_for_and_cannot_do_is_one_line_and_the_program_runs(file, calling, receiver, options, said):
    file.write_text(sending_to(receiver))
    done = start(*RUN, *options, "python", "-c", CALL + "print('done')", env=calling)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "done\n", 1)
    assert done.stderr.startswith(f"llm-otel-broadcast: {said}")
    assert receiver.store.spans() == []


def test_a_program_that_runs_sends_to_another_place_after_the_file_was_edited(file, calling, receiver):
    """In a real program, started without a change of its code, from one receiver to another and off."""
    with OtlpReceiver() as other:
        file.write_text(sending_to(receiver))
        with subprocess.Popen(
            [sys.executable, "-c", FOLLOWING],
            env=with_directory(calling),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as program:

            def call() -> None:
                program.stdin.write("Hello\n")
                program.stdin.flush()
                assert program.stdout.readline() == "called\n"
                calls.append(1)

            def arrives() -> bool:
                call()
                with suppress(TimeoutError):
                    eventually(lambda: len(arrived(receiver, other)) == len(calls), 0.5, "the call to arrive")
                return len(arrived(receiver, other)) == len(calls)

            calls: list[int] = []
            assert arrives()
            file.write_text(sending_to(other))
            eventually(lambda: arrives() and other.store.spans(), 10, "the other receiver to get a call")
            file.write_text("enabled = false\n" + sending_to(other))
            eventually(lambda: not arrives(), 10, "no call to arrive any more")
            program.stdin.close()
            assert program.wait(10) == 0
        assert len(arrived(receiver, other)) == len(calls) - 1


def arrived(*receivers: OtlpReceiver) -> set[str]:
    """Return the ids of the spans that are there, each of them once."""
    spans = [span.span_id for receiver in receivers for span in receiver.store.spans()]
    assert len(set(spans)) == len(spans)
    return set(spans)
