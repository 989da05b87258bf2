"""Our named tuples are what `typing` would have made."""

from __future__ import annotations

import copy
import inspect
import pickle
import typing
from collections.abc import Mapping

import pytest

from llm_otel_broadcast.record.named_tuple import NamedTuple

NOTHING: Mapping[str, int] = {}


class Ours(NamedTuple):
    """A tuple."""

    name: str
    counts: Mapping[str, int] = NOTHING
    """A comment."""
    size: int | None = None

    @property
    def label(self) -> str:
        return f"{self.name}: {self.size}"

    @classmethod
    def empty(cls) -> Ours:
        return cls("")


class Theirs(typing.NamedTuple):
    """A tuple."""

    name: str
    counts: Mapping[str, int] = NOTHING
    """A comment."""
    size: int | None = None

    @property
    def label(self) -> str:
        return f"{self.name}: {self.size}"

    @classmethod
    def empty(cls) -> Theirs:
        return cls("")


class Bare(NamedTuple):
    """Without a field."""


FACTS = {
    "fields": lambda kind: (kind._fields, kind._field_defaults, kind.__match_args__),
    "text": lambda kind: repr(kind("a", size=1)).partition("(")[2],
    "parameters": lambda kind: [(made.name, made.default) for made in inspect.signature(kind).parameters.values()],
    "types": typing.get_type_hints,
    "documentation": lambda kind: kind.__doc__,
    "module": lambda kind: kind.__module__,
    "bases": lambda kind: kind.__mro__[1:],
    "members": lambda kind: (kind("a").label, tuple(kind.empty()), kind("a")._replace(size=2)._asdict()),
    "copies": lambda kind: (
        pickle.loads(pickle.dumps(kind("a"))) == kind("a"),
        type(copy.deepcopy(kind("a"))) is kind,
    ),
    "values": lambda kind: (tuple(kind("a", {}, 3)), kind("a") == ("a", {}, None)),
}


@pytest.mark.parametrize("fact", FACTS)
def test_it_is_what_typing_makes(fact):
    assert FACTS[fact](Ours) == FACTS[fact](Theirs)


def test_it_may_have_no_field():
    assert Bare() == ()
