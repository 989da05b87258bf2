"""docs/backends.md: what each backend shows of the sixteen generations, as it was read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from tests.backends.columns import COLUMNS, Column
from tests.backends.generations import GENERATIONS, Facts, Generation
from tests.backends.views import View

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"
WRITE = "LLM_OTEL_BROADCAST_WRITE"
"""The variable that has the tests write the page instead of comparing it."""
MAX_PICTURE_BYTES = 150_000
PICTURES = (
    ("phoenix-traces.png", "Phoenix: the list of traces"),
    ("phoenix-trace.png", "Phoenix: a call with tools"),
    ("phoenix-agent.png", "Phoenix: an agent with a retriever and a tool"),
    ("phoenix-session.png", "Phoenix: a session"),
    ("mlflow-traces.png", "MLflow: the list of traces"),
    ("mlflow-trace.png", "MLflow: a call with tools"),
    ("mlflow-agent.png", "MLflow: an agent with a retriever and a tool"),
    ("agentmesh-traces.png", "agentmesh: the list of traces"),
    ("agentmesh-trace.png", "agentmesh: a call with tools"),
    ("agentmesh-agent.png", "agentmesh: an agent with a retriever and a tool"),
)
_NAMES = {"cached_tokens": "cached tokens", "overview": "row in the list"}
_HEAD = """\
# What backends show

Sixteen generations, one of each kind, are made with the real `openai` client, sent by this library to real backends, and read back
through the backends' own APIs: not whether the attributes are stored, but what the backend makes of them in the fields that its
pages are drawn from. What the model's API stated is compared with what the backend says: the model, the provider, tokens in and
out, cached tokens, the cost, texts of question and answer, tools, session, user, and whether it failed. *Row in the list* is
whether the list of traces shows the question and the answer. Weave's server runs at W&B alone: of it, the code that reads traces
is run, as it was last published.

`nox -s backends` repeats it, `nox -s backends -- --write` writes this page, `nox -s pictures` takes the pictures.
"""


def page(shown: Mapping[str, Mapping[str, View]], versions: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        shown: by the name of a column and the title of a generation.
        versions: of the programs, by name.
    """
    sections = [_HEAD, _by_fact(shown, versions), _by_generation(shown), _reasons(), _pictures()]
    return "\n".join(sections)


def _by_fact(shown: Mapping[str, Mapping[str, View]], versions: Mapping[str, str]) -> str:
    """Return how many of the generations of which a fact was stated are shown with it."""
    programs = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    rows = []
    for fact in [*(item.name for item in fields(Facts)), "overview"]:
        stating = [generation for generation in GENERATIONS if _is_stated(generation, fact)]
        cells = []
        for column in COLUMNS:
            missing = [each for each in stating if fact in column.unseen(each, shown[column.name][each.title])]
            count = f"{len(stating) - len(missing)} of {len(stating)}"
            cells.append(f"**{count}**" if missing else count)
        rows.append([_NAMES.get(fact, fact), *cells])
    return f"## By fact\n\nWith {programs}.\n\n{_table(['', *(column.name for column in COLUMNS)], rows)}"


def _is_stated(generation: Generation, fact: str) -> bool:
    return fact in ("session", "user") or bool(getattr(generation.facts, fact))


def _by_generation(shown: Mapping[str, Mapping[str, View]]) -> str:
    rows = [
        [each.title, *(_missing(column, each, shown[column.name][each.title]) for column in COLUMNS)]
        for each in GENERATIONS
    ]
    table = _table(["", *(column.name for column in COLUMNS)], rows)
    return f"## By generation\n\nWhat is not shown, or not as it was stated.\n\n{table}"


def _missing(column: Column, generation: Generation, view: View) -> str:
    facts = column.unseen(generation, view)
    return ", ".join(sorted(_NAMES.get(fact, fact) for fact in facts)) or "all shown"


def _reasons() -> str:
    lines = [
        f"- {column.name}: {', '.join(_NAMES.get(fact, fact) for fact in sorted(gap.facts))} of {_titles(gap.titles)}: {gap.reason}."
        for column in COLUMNS
        for gap in column.gaps
    ]
    return "\n".join(["## Why", "", *lines, ""])


def _titles(titles: tuple[str, ...]) -> str:
    """Return the generations that are meant, by what is left out where that is shorter."""
    others = [generation.title for generation in GENERATIONS if generation.title not in titles]
    if not others:
        return "all"
    return f"all but {', '.join(others)}" if len(others) < len(titles) else ", ".join(titles)


def _pictures() -> str:
    pictures = [f"![{text}](pictures/{name})" for name, text in PICTURES]
    return "\n\n".join(["## Pictures", *pictures]) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines) + "\n"
