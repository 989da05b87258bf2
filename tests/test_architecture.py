"""The rules of the rooms, read from the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import llm_otel_broadcast
from tests.support import figures

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "llm_otel_broadcast"
NAME = "llm_otel_broadcast"
FILES = sorted(PACKAGE.rglob("*.py"))

ORDER = (
    {"version", "record", "host"},
    {"fields"},
    {"tracing", "settings"},
    {"clients", "dialects", "wire"},
    {"app", "spool"},
    {"delivery"},
    {"other_spans"},
    {"runtime"},
    {"instrumentation"},
    {"connection", "middleware", "zero_code"},
    {"cli"},
)
"""Each room may import those above it in this list and itself, also inside functions: data goes down, imports point up the list."""
STRANGERS = {
    # what a call was and what becomes of it know each other by the record alone
    "delivery": {"clients", "tracing"},
    "dialects": {"settings", "tracing"},
    "middleware": {"clients", "dialects", "wire", "app", "delivery", "other_spans", "runtime", "instrumentation"},
    "wire": {"tracing"},
    "spool": {"fields", "tracing", "settings", "clients", "dialects"},
    "clients": {"settings"},
}
"""Rooms above it in the list that a room has nothing to do with all the same."""
STAND_ALONE = {"collector": set(), "receiver": set(), "stand_in": {"receiver"}}
"""Rooms for the command line and the tests, which import nothing of ours but each other's HTTP server."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports_of(path: Path, *, only_at_import: bool) -> set[str]:
    """Return our modules that a file imports; `only_at_import` leaves out functions and TYPE_CHECKING blocks."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if only_at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if only_at_import and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))
    ours = {module_of(file) for file in FILES}
    return {name for name in found if name in ours}


def imports_of_room(room: str) -> dict[str, set[str]]:
    """Return by file which other rooms a room imports, imports inside functions included."""
    imports = {}
    for path in FILES:
        if room_of(module_of(path)) == room:
            rooms = {room_of(name) for name in imports_of(path, only_at_import=False)} - {room, ""}
            imports[module_of(path)] = rooms
    assert imports
    return imports


@pytest.mark.parametrize("level", range(len(ORDER)), ids=lambda level: "-".join(sorted(ORDER[level])))
def test_a_room_imports_only_rooms_above_it_in_the_order(level):
    above = set().union(*ORDER[:level])
    wrong = {
        module: rooms - above
        for room in ORDER[level]
        for module, rooms in imports_of_room(room).items()
        if rooms - above - (set(STAND_ALONE) if room == "cli" else set())
    }
    assert wrong == {}


@pytest.mark.parametrize("room", sorted(STRANGERS))
def test_a_room_has_nothing_to_do_with_strangers(room):
    wrong = {module: rooms & STRANGERS[room] for module, rooms in imports_of_room(room).items()}
    assert {module: rooms for module, rooms in wrong.items() if rooms} == {}


@pytest.mark.parametrize("room", sorted(STAND_ALONE))
def test_a_part_of_the_demo_imports_nothing_of_ours(room):
    assert set().union(*imports_of_room(room).values()) == STAND_ALONE[room]


def test_every_room_has_its_place_in_the_order():
    assert {room_of(module_of(path)) for path in FILES} == {"", "__main__", *STAND_ALONE, *set().union(*ORDER)}


def test_four_files_stand_at_the_top():
    assert sorted(path.name for path in PACKAGE.glob("*.py")) == [
        "__init__.py",
        "__main__.py",
        "instrumentation.py",
        "version.py",
    ]


def test_no_two_modules_import_each_other():
    graph = {module_of(path): imports_of(path, only_at_import=True) - {module_of(path)} for path in FILES}
    list(TopologicalSorter(graph).static_order())


def test_the_core_never_imports_the_demos_parts():
    core = [
        path
        for path in FILES
        if room_of(module_of(path)) not in {"cli", "collector", "receiver", "stand_in", "__main__"}
    ]
    imported = {room_of(name) for path in core for name in imports_of(path, only_at_import=False)}
    assert not imported & {"cli", "collector", "receiver", "stand_in"}


def test_what_runs_at_the_start_of_every_interpreter_imports_nothing_of_ours_and_is_read_by_old_ones():
    path = PACKAGE / "zero_code" / "on_path" / "sitecustomize.py"
    assert [found.name for found in path.parent.iterdir() if found.name != "__pycache__"] == [path.name]
    assert not imports_of(path, only_at_import=True)
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_nobody_but_the_command_line_knows_of_the_start_without_code():
    knowing = {room_of(module_of(path)) for path in FILES if "zero_code" in str(imports_of(path, only_at_import=False))}
    assert knowing == {"cli", "zero_code"}


def stops_everything(handler):
    """Return whether an `except` takes errors of any kind and is without a `raise`: a guard decides first, and raises the rest."""
    names = {getattr(node, "id", "") for node in ast.walk(handler.type)} if handler.type else {"Exception"}
    return bool(names & {"Exception", "BaseException"}) and not any(
        isinstance(node, ast.Raise) for node in ast.walk(handler)
    )


def test_errors_of_any_kind_are_stopped_in_few_places_only():
    stopping = {
        module_of(path)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and stops_everything(node)
    }
    # `tracing.function_kinds` and `clients.generators` throw what they take into the generator that it is for
    assert stopping == {
        f"{NAME}.clients.generators",
        f"{NAME}.host.logs",
        f"{NAME}.delivery.worker",
        f"{NAME}.tracing.function_kinds",
        f"{NAME}.zero_code.on_path.sitecustomize",
    }


def test_a_client_library_is_known_to_its_folder_and_the_registry_alone():
    outside = [path for path in FILES if "clients.openai" not in module_of(path)]
    assert [
        module_of(path) for path in outside if "clients.openai" in str(imports_of(path, only_at_import=False))
    ] == []
    naming = [module_of(path) for path in outside if "clients.openai" in path.read_text(encoding="utf-8")]
    assert naming == [f"{NAME}.clients"]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_file_has_a_docstring_and_at_most_400_lines(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= 400


@pytest.mark.parametrize("client", ["openai", "httpx", "httpx2"])
def test_the_core_imports_no_client_library(client):
    core = [path for path in FILES if room_of(module_of(path)) != "cli"]
    importing = [
        module_of(path)
        for path in core
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and client in {alias.name.split(".")[0] for alias in node.names})
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == client)
    ]
    assert importing == []


def test_nothing_private_of_opentelemetry_or_openai_is_imported():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("opentelemetry", "openai"):
                names = [*node.module.split("."), *(alias.name for alias in node.names)]
                assert not [name for name in names if name.startswith("_")], module_of(path)


def test_the_version_is_the_one_in_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert llm_otel_broadcast.__version__ == project["version"]


@pytest.mark.parametrize("name", llm_otel_broadcast.__all__)
def test_every_public_name_is_there(name):
    assert getattr(llm_otel_broadcast, name) is not None


def test_completion_offers_the_public_names_and_nothing_else():
    command = [sys.executable, "-c", "import llm_otel_broadcast; print(*dir(llm_otel_broadcast))"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert [name for name in listed if not name.startswith("__")] == [
        name for name in sorted(llm_otel_broadcast.__all__) if not name.startswith("__")
    ]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = llm_otel_broadcast.no_such_name


def test_names_say_what_they_are_bound_to():
    """Under one in a thousand: some words of the field are on the list as well."""
    vague = [f"{module_of(path)}:{line} {name}" for path in FILES for name, line in figures.vague_bindings_of(path)]
    bindings = sum(1 for path in FILES for _ in figures.bindings_of(figures.tree_of(path)))
    assert len(vague) < bindings / 1_000, vague


def test_limits_carry_their_unit_and_purpose():
    assert [
        f"{module_of(path)}:{line} {name}" for path in FILES for name, line in figures.nameless_limits_of(path)
    ] == []


def test_comments_stand_above_the_code_and_there_are_enough():
    code, own, trailing = (sum(counts) for counts in zip(*map(figures.line_counts, FILES), strict=True))
    assert trailing == 0
    assert 5 <= 100 * own / code <= 12


def test_functions_are_as_long_as_an_idea():
    lengths = sorted(function.lines for path in FILES for function in figures.functions_of(path))
    assert lengths[int(len(lengths) * 0.9)] < 30
    assert sum(length > 50 for length in lengths) <= len(lengths) / 100


def test_most_private_functions_have_several_callers():
    """A helper that one place calls is read there and here: it has to be an idea of its own."""
    single, count = figures.one_caller_functions()
    assert len(single) < 0.4 * count
