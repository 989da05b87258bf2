"""What `run` leaves as it is: exit code, signals, stdin, terminal, arguments, environment, process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from llm_otel_broadcast.zero_code.path import DIRECTORY
from tests.zero_code.programs import CALL, RUN, start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")

# Short waits: Python sees a signal that comes just before a system call only after it.
WAITING = """
import time
print("ready", flush=True)
deadline = time.monotonic() + 60
while time.monotonic() < deadline: time.sleep(0.01)
"""


def test_the_exit_code_is_the_programs(environment, receiver):
    done = start(*RUN, "python", "-c", f"{CALL}import sys; sys.exit(3)", env=environment)
    assert (done.returncode, done.stderr) == (3, "")
    assert len(receiver.store.spans()) == 1


def end_of(sent: signal.Signals, *command: str, env) -> tuple[int, bytes]:
    """Return how a program that says it is ready ends by a signal, and its last words."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe) as program:
        assert program.stdout.readline() == b"ready\n", program.stderr.read()
        program.send_signal(sent)
        return program.wait(20), re.sub(rb"line \d+", b"line N", program.stderr.read())


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda sent: sent.name)
def test_a_signal_ends_the_program_as_it_would_without_us(environment, sent):
    plain = end_of(sent, "python", "-c", WAITING, env=environment)
    assert end_of(sent, *RUN, "python", "-c", WAITING, env=environment) == plain
    assert end_of(sent, *RUN, "python", "-c", CALL + WAITING, env=environment)[0] == plain[0] == -sent


def test_the_program_takes_the_place_of_run_itself(environment):
    """So that whoever started us signals and waits for the program, not for something in front of it."""
    with subprocess.Popen(
        [*RUN, "python", "-c", "import os; print(os.getpid(), os.getppid())"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout.read() == f"{program.pid} {os.getpid()}\n"


def test_stdin_goes_to_the_program(environment):
    program = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    assert start(*RUN, "python", "-c", program, env=environment, input="one\ntwo").stdout == "ONE\nTWO"


def test_a_terminal_stays_a_terminal(environment):
    import pty

    program = "import os, sys; print(*(os.isatty(number) for number in range(3)), os.tcgetpgrp(0) == os.getpgrp())"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(RUN[0], [*RUN, "python", "-c", program], environment)
    printed = b""
    try:
        while chunk := os.read(terminal, 1024):
            printed += chunk
    except OSError:  # how Linux tells that the other end is closed
        pass
    finally:
        os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0
    assert printed == b"True True True True\r\n"


def test_signals_that_python_ignores_for_itself_are_not_ignored_in_another_program(environment):
    """A shell's `yes | head` would go on for ever."""
    done = start(*RUN, "sh", "-c", "kill -PIPE $$; echo survived", env=environment)
    assert (done.returncode, done.stdout) == (-signal.SIGPIPE, "")


def test_arguments_arrive_as_they_are(environment):
    arguments = ["--help", "-h", "--endpoint", "x", "", "a b", "*", "--", "\udcff", "ü", "-m"]
    program = "import json, sys; print(json.dumps(sys.argv[1:]))"
    for command in (["python", "-c", program], ["--", "python", "-c", program]):
        done = start(*RUN, *command, *arguments, env=environment)
        assert json.loads(done.stdout) == arguments, done.stderr


def test_of_the_environment_only_the_settings_and_the_path_change(environment):
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    environment["PYTHONPATH"] = os.pathsep.join(["/first", "", "/second"])
    before = json.loads(start("python", "-c", program, env=environment).stdout)
    done = start(
        *RUN, "--endpoint", "http://127.0.0.1:9", "--header", "a=b,c", "python", "-c", program, env=environment
    )
    after = json.loads(done.stdout)
    changed = {name: after[name] for name in after if before.get(name) != after[name]}
    assert before.keys() <= after.keys()
    assert changed == {
        "LLM_OTEL_BROADCAST_ENDPOINT": "http://127.0.0.1:9",
        "LLM_OTEL_BROADCAST_HEADERS": '{"a": "b,c"}',
        "PYTHONPATH": os.pathsep.join([DIRECTORY, "/first", "", "/second"]),
    }


def test_run_within_run_is_run(environment):
    program = "import os; print(os.environ['PYTHONPATH'])"
    for path in ({}, {"PYTHONPATH": ""}):
        done = start(*RUN, *RUN, "python", "-c", program, env={**environment, **path})
        assert done.stdout == f"{DIRECTORY}\n", done.stderr


def test_headers_of_another_endpoint_do_not_go_to_the_one_on_the_command_line(environment):
    environment["LLM_OTEL_BROADCAST_HEADERS"] = "Authorization=secret"
    program = "import os; print([name for name in os.environ if name.startswith(('LLM_OTEL_BROADCAST_E', 'LLM_OTEL_BROADCAST_H'))])"
    done = start(*RUN, "--endpoint", "http://127.0.0.1:9", "python", "-c", program, env=environment)
    assert done.stdout == "['LLM_OTEL_BROADCAST_ENDPOINT']\n"


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["no-such-program"], 127, "cannot run no-such-program: No such file or directory"),
        (["./app.py"], 126, "cannot run ./app.py: Permission denied (did you mean: run python ./app.py?)"),
        (["app.py"], 127, "(did you mean: run python app.py?)"),
        ([], 2, "Missing argument"),
        (["--endpont", "http://x", "python"], 2, "--endpont is no option of run"),
        (["-m"], 2, "-m is no option of run"),
        (["--header", "secret", "python"], 2, "not KEY=VALUE"),
    ],
)
def test_a_command_that_cannot_be_run_ends_as_it_would_in_a_shell(environment, tmp_path, command, code, said):
    (tmp_path / "app.py").write_text("")
    done = start(*RUN, *command, env=environment, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "secret" not in done.stderr


def test_where_a_process_cannot_be_replaced_its_child_decides_about_an_interrupt(environment):
    """As on Windows; here the interrupt goes to the group of both, as from a keyboard."""
    program = f"import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit(4)){WAITING}"
    waiting = (
        "import os, sys; from llm_otel_broadcast.cli.execution import wait_for; "
        "wait_for([sys.executable, '-c', sys.argv[1]], os.environ)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", waiting, program],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as outer:
        assert outer.stdout.readline() == b"ready\n"
        os.killpg(outer.pid, signal.SIGINT)
        assert outer.wait(20) == 4
