"""What happens at the start of every interpreter below `run`: next to nothing, and never anything to the program's harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from llm_otel_broadcast.zero_code.path import DIRECTORY
from tests.zero_code.programs import CALL, RUN, start, with_directory

CPU_SECONDS = 0.02


def python(program: str, environment, **options):
    return start(sys.executable, "-c", program, env=environment, **options)


# -- what it costs -------------------------------------------------------------------------------------------------------


def test_a_program_that_never_imports_openai_gets_one_small_module(environment):
    program = (
        "import importlib.util, json, sys; importlib.util.find_spec('openai'); print(json.dumps(list(sys.modules)))"
    )
    plain, traced = (json.loads(python(program, given).stdout) for given in (environment, with_directory(environment)))
    assert set(traced) - set(plain) == {"sitecustomize"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource")
def test_a_program_that_never_imports_openai_starts_as_quickly_as_ever(environment, tmp_path):
    """Issue: under 20 ms; the least of several turns, because the machine has other work."""
    import resource

    def cpu(given) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", "import json"], env=given, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    traced = with_directory({**environment, "PYTHONPYCACHEPREFIX": str(tmp_path)})
    traced.pop("PYTHONDONTWRITEBYTECODE", None)
    turns = [(cpu(environment), cpu(traced)) for _ in range(6)]
    assert min(ours for _, ours in turns) - min(plain for plain, _ in turns) < CPU_SECONDS


# -- the program's own sitecustomize -------------------------------------------------------------------------------------


def directory(tmp_path, name: str, source: str, module: str = "sitecustomize"):
    made = tmp_path / name
    made.mkdir(exist_ok=True)
    (made / f"{module}.py").write_text(source)
    return made


TELL = "import sys, sitecustomize; print(sitecustomize.__file__, sitecustomize.__name__, sitecustomize.__spec__.origin)"


def test_the_programs_own_sitecustomize_runs_and_is_the_module_of_that_name(environment, tmp_path, receiver):
    own = directory(tmp_path, "own", "print('own ran')")
    done = python(TELL + CALL, with_directory(environment, own))
    file = own / "sitecustomize.py"
    assert (done.stdout, done.stderr) == (f"own ran\n{file} sitecustomize {file}\n", "")
    assert len(receiver.store.spans()) == 1


def test_only_the_first_of_several_runs_as_ever(environment, tmp_path):
    first, second = (directory(tmp_path, name, f"print({name!r})") for name in ("first", "second"))
    assert python("", with_directory(environment, first, second)).stdout == "first\n"


@pytest.mark.parametrize(
    "source",
    ["raise ValueError('own trouble')", "import no_such_module", "import sys; sys.exit(5)", "raise KeyboardInterrupt"],
)
def test_what_the_programs_own_sitecustomize_raises_is_told_as_ever(environment, tmp_path, source):
    own = directory(tmp_path, "own", source)
    plain = python("print('ran')", {**environment, "PYTHONPATH": str(own)})
    traced = python("print('ran')", with_directory(environment, own))
    assert (traced.returncode, traced.stdout) == (plain.returncode, plain.stdout)
    assert traced.stderr.splitlines()[-1:] == plain.stderr.splitlines()[-1:]


LEAVES_THE_PATH = """
import os, sys
here = os.path.dirname(__file__)
sys.path[:] = [entry for entry in sys.path if entry != here]
own = sys.modules.pop("sitecustomize")
try:
    import sitecustomize
except ImportError:
    sys.modules["sitecustomize"] = own
print("chaining ran")
"""
LOOKS_FOR_ITSELF = """
import importlib.machinery, importlib.util, os, sys
path = [entry for entry in sys.path if entry != os.path.dirname(__file__)]
spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print("chaining ran")
"""


@pytest.mark.parametrize("source", [LEAVES_THE_PATH, LOOKS_FOR_ITSELF])
@pytest.mark.parametrize("has_next", [True, False])
def test_a_sitecustomize_that_runs_the_next_one_itself_goes_on_doing_so(environment, tmp_path, source, has_next):
    """As those of other tracers do: each has its turn once, whoever stands first."""
    chaining = directory(tmp_path, "chaining", source)
    others = [directory(tmp_path, "last", "print('last ran')")] if has_next else []
    done = python("", with_directory(environment, chaining, *others))
    assert (done.stdout, done.stderr) == ("last ran\nchaining ran\n" if has_next else "chaining ran\n", "")
    environment["PYTHONPATH"] = os.pathsep.join(map(str, [chaining, DIRECTORY, *others]))
    assert python("", environment).stdout.endswith("chaining ran\n")


def test_usercustomize_runs_as_ever(environment, tmp_path):
    """With the interpreter below a virtual environment: in one, Python itself looks for none."""
    user = directory(tmp_path, "user", "print('user ran')", "usercustomize")
    base = getattr(sys, "_base_executable", sys.executable)
    environment.pop("PYTHONNOUSERSITE", None)
    plain = start(base, "-c", "print('ran')", env={**environment, "PYTHONPATH": str(user)})
    traced = start(base, "-c", "print('ran')", env=with_directory(environment, user))
    assert (traced.stdout, traced.stderr) == (plain.stdout, plain.stderr) == ("user ran\nran\n", "")


def test_without_another_sitecustomize_nothing_is_said(environment):
    done = python(
        "import sys; print(len([f for f in sys.meta_path if 'Broadcast' in repr(f)]))", with_directory(environment)
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


# -- trouble -------------------------------------------------------------------------------------------------------------

UNTRACED = "; the program runs untraced\n"
IMPORT = "import openai; print('ran')"


@pytest.fixture
def openai_only(tmp_path):
    """A directory with an `openai` that is quickly imported."""
    package = tmp_path / "only" / "openai"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from openai import types")
    (package / "types.py").write_text("")
    return package.parent


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"ENDPOINT": "localhost:4318", "TIMEOUT": "soon"},
            [
                'LLM_OTEL_BROADCAST_ENDPOINT: endpoint "localhost:4318" needs http:// or https:// in front, e.g.',
                "; LLM_OTEL_BROADCAST_TIMEOUT: timeout must be a number of seconds from 0.001 to 3600, got 'soon'",
            ],
        ),
        ({"HEADERS": '{"a": "sec\\nret"}'}, ['LLM_OTEL_BROADCAST_HEADERS: header "a" has a line break in its value']),
        ({"DISABLED": "maybe"}, ["LLM_OTEL_BROADCAST_DISABLED must be true or false, got 'maybe'"]),
    ],
    ids=str,
)
def test_a_wrong_setting_is_one_line_and_the_program_runs(environment, openai_only, variables, said):
    given = {**environment, **{f"LLM_OTEL_BROADCAST_{name}": text for name, text in variables.items()}}
    by_run = start(*RUN, "python", "-c", IMPORT, env={**given, "PYTHONPATH": str(openai_only)})
    by_path = python(IMPORT, with_directory(given, openai_only))
    for done in (by_run, by_path):
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "ran\n", 1)
        assert done.stderr.startswith("llm-otel-broadcast: ")
        assert done.stderr.endswith(UNTRACED)
        assert [part for part in said if part not in done.stderr] == []


def test_disabled_is_silent(environment, stand_in, receiver):
    given = {**environment, "OTEL_SDK_DISABLED": "true"}
    done = start(*RUN, "--endpoint", "wrong", "python", "-c", CALL, env=given)
    assert (done.returncode, done.stderr) == (0, "")
    assert (len(stand_in.requests), len(receiver.requests)) == (1, 0)


BREAKS = """
import importlib.abc, sys
class Broken(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "llm_otel_broadcast.instrumentation":
            raise RuntimeError("two\\nlines")
sys.meta_path.insert(1, Broken())
"""


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("", f"llm-otel-broadcast: RuntimeError: two; lines{UNTRACED}"),
        ("sys.stderr.close(); sys.stderr = None\n", ""),
    ],
    ids=["said", "no stderr"],
)
def test_any_other_trouble_is_one_line_too(environment, openai_only, before, said):
    done = python(BREAKS + before + IMPORT, with_directory(environment, openai_only))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", said)


@pytest.fixture(scope="module")
def other_python(tmp_path_factory):
    """The interpreter of an environment in which we are not installed."""
    home = tmp_path_factory.mktemp("other")
    venv.create(home, symlinks=os.name != "nt")
    return home / ("Scripts" if os.name == "nt" else "bin") / Path(sys.executable).name


def test_another_environment_without_us_runs_its_programs_and_says_so_once(environment, other_python, openai_only):
    environment["PYTHONPATH"] = str(openai_only)
    done = start(*RUN, other_python, "-c", IMPORT, env=environment, cwd=openai_only)
    said = f"llm-otel-broadcast: it is not installed for {other_python}{UNTRACED}"
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", said)


def test_another_environment_without_us_is_silent_until_openai_comes(environment, other_python, tmp_path):
    done = start(*RUN, other_python, "-c", "import json; print('ran')", env=environment, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


def test_what_a_program_posts_past_the_methods_is_recorded_too(environment, receiver):
    """LiteLLM posts. We start in the middle of the import of `openai`, when it has no clients yet."""
    post = """
import openai
from openai.types.chat import ChatCompletion
body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]}
with openai.OpenAI() as client:
    client.post("/chat/completions", cast_to=ChatCompletion, body=body)
"""
    done = python(post, with_directory(environment))
    assert (done.returncode, done.stderr) == (0, "")
    (span,) = receiver.store.spans()
    assert span.name == "chat gpt-4o-mini"


# -- a program that sees to it itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["instrument first", "openai first"])
def test_a_program_that_instruments_itself_has_its_way(environment, receiver, order):
    ours = f"import llm_otel_broadcast\nllm_otel_broadcast.instrument(endpoint={receiver.endpoint!r}, service_name='own')\n"
    program = ours + CALL if order == "instrument first" else f"import openai\n{ours}{CALL}"
    done = python(program, with_directory({**environment, "LLM_OTEL_BROADCAST_ENDPOINT": "http://127.0.0.1:9"}))
    assert (done.returncode, done.stderr) == (0, "")
    (span,) = receiver.store.spans()
    assert span.resource["service.name"] == "own"
