"""Figures of the package's own code: `python -m tests.support.figures [ROOM ...]` prints them, `test_architecture` holds their bounds."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2] / "llm_otel_broadcast"
FILES = sorted(PACKAGE.rglob("*.py"))
VAGUE = frozenset(
    [
        "said",
        "told",
        "made",
        "given",
        "one",
        "found",
        "known",
        "shown",
        "kept",
        "asked",
        "before",
        "where",
        "at",
        "place",
        "taken",
        "thing",
        "things",
        "seen",
        "used",
        "wanted",
        "done",
        "left",
        "missing",
        "inside",
        "what",
        "looked",
        "meant",
        "named",
        "put",
        "sayings",
        "telling",
        "saying",
        "being",
        "having",
        "those",
        "others",
    ]
)
"""Words that say nothing about what they are bound to."""
_LIMITS = re.compile(r"_?(MAX|MIN|MOST|LONGEST|PATIENCE|EVERY|BREATH|DEEP|MANY|LIKENESS|GRACE|SETTLING)$")


class Function(NamedTuple):
    """A function and where it stands."""

    name: str
    path: Path
    line: int
    lines: int


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def bindings_of(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every name that is bound: variables, parameters, attributes of `self`, functions, classes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.arg(arg=name) if name not in ("self", "cls"):
                yield name, node.lineno
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.ExceptHandler(name=str(name)):
                yield name, node.lineno


def vague_bindings_of(path: Path) -> list[tuple[str, int]]:
    names = ((name, line) for name, line in bindings_of(tree_of(path)) if name.strip("_") in VAGUE)
    # Python's own names (`__missing__`) are not for us to choose.
    return [(name, line) for name, line in names if not (name.startswith("__") and name.endswith("__"))]


def nameless_limits_of(path: Path) -> list[tuple[str, int]]:
    """Return constants that name neither their unit nor their purpose."""
    return [(name, line) for name, line in bindings_of(tree_of(path)) if _LIMITS.fullmatch(name)]


def functions_of(path: Path) -> Iterator[Function]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Function(node.name, path, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1)


def any_count(path: Path) -> int:
    """Return how often `Any` stands in annotations and aliases, imports aside."""
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(tree_of(path)))


def line_counts(path: Path) -> tuple[int, int, int]:
    """Return the lines of code, those of comments that stand alone, and the comments that stand behind code."""
    source = path.read_text(encoding="utf-8")
    code: set[int] = set()
    own = trailing = 0
    docstrings = _docstring_lines(ast.parse(source))
    skipped = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.COMMENT}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if source.splitlines()[token.start[0] - 1].lstrip().startswith("#"):
                own += 1
            elif not re.match(r"# (noqa|type:|pragma)", token.string):
                trailing += 1
        elif token.type not in skipped:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings), own, trailing


def _docstring_lines(tree: ast.Module) -> set[int]:
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def one_caller_functions() -> tuple[list[Function], int]:
    """Return private functions and methods that one place in the package refers to, and how many private ones there are."""
    private = [
        function
        for path in FILES
        for function in functions_of(path)
        if function.name.startswith("_") and not function.name.startswith("__")
    ]
    uses: Counter[tuple[Path, str]] = Counter()
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                uses[path, node.id] += 1
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                uses[path, node.attr] += 1
    return [function for function in private if uses[function.path, function.name] == 1], len(private)


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def _main(rooms: list[str]) -> None:
    head = "code comments trailing Any bindings vague limits fns p90 >50"
    print(f"{'room':14}", *(f"{column:>8}" for column in head.split()))
    for room in sorted({room_of(path) for path in FILES}):
        print(f"{room or 'top':14}", *(f"{value:>8}" for value in _row([p for p in FILES if room_of(p) == room])))
    print(f"{'all':14}", *(f"{value:>8}" for value in _row(FILES)))
    outside = sum(any_count(path) for path in FILES if room_of(path) != "clients")
    single, count = one_caller_functions()
    share = len(single) / count
    print(f"Any outside clients {outside}, private functions with one caller {len(single)} of {count} ({share:.1%})")
    for path in FILES:
        if room_of(path) in rooms:
            for name, line in [*vague_bindings_of(path), *nameless_limits_of(path)]:
                print(f"{path.relative_to(PACKAGE.parent)}:{line}: {name}")
    for function in single:
        if room_of(function.path) in rooms:
            where = f"{function.path.relative_to(PACKAGE.parent)}:{function.line}"
            print(f"{where}: {function.name} ({function.lines} lines) has one caller")


def _row(paths: list[Path]) -> list[object]:
    counts = [line_counts(path) for path in paths]
    sizes = sorted(function.lines for path in paths for function in functions_of(path)) or [0]
    return [
        sum(code for code, _, _ in counts),
        sum(own for _, own, _ in counts),
        sum(trailing for _, _, trailing in counts),
        sum(any_count(path) for path in paths),
        sum(1 for path in paths for _ in bindings_of(tree_of(path))),
        sum(len(vague_bindings_of(path)) for path in paths),
        sum(len(nameless_limits_of(path)) for path in paths),
        len(sizes),
        sizes[int(len(sizes) * 0.9)],
        sum(size > 50 for size in sizes),
    ]


if __name__ == "__main__":
    _main(sys.argv[1:])
