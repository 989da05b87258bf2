"""A YAML file as a tree that knows its lines. Shared parts (anchors) are read once, so no file grows in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    import yaml

VARIABLE: Final = re.compile(r"\$\{[^}]*\}")
"""`${env:NAME}` and the like, which the Collector replaces when it starts."""
SECTIONS: Final = ("receivers", "processors", "exporters")
"""Where the components of pipelines are defined."""
_MAX_DEPTH: Final = 60

Scalar: TypeAlias = object
"""Text, number, truth value or None."""


class _Constructor(Protocol):
    """The part of PyYAML's loader that makes values of scalars."""

    def construct_object(self, node: yaml.Node) -> object: ...


@dataclass(frozen=True, slots=True)
class Node:
    """One value with its line: a mapping, a list or a scalar.

    Attributes:
        line: from 1.
        entries: of a mapping, else None.
        elements: of a list, else None.
        value: of a scalar: text, number, truth value or None.
    """

    line: int
    entries: Mapping[str, Node] | None = None
    elements: tuple[Node, ...] | None = None
    value: Scalar = None

    def find(self, *path: str) -> Node | None:
        """Return the node under these keys, None where a key is missing."""
        node: Node | None = self
        for key in path:
            node = node.entries.get(key) if node is not None and node.entries is not None else None
        return node

    def scalar(self, *path: str) -> Scalar:
        """Return the scalar under these keys, None where there is none."""
        node = self.find(*path)
        return None if node is None else node.value

    def items(self, *path: str) -> Iterator[tuple[str, Node]]:
        """Yield the entries of the mapping under these keys, none where there is no mapping."""
        node = self.find(*path)
        yield from (node.entries if node is not None and node.entries is not None else {}).items()

    def names(self, *path: str) -> list[tuple[str, Node]]:
        """Return the elements of the list under these keys, which names components; none where there is no list."""
        node = self.find(*path)
        return [(str(element.value), element) for element in (node.elements or ())] if node is not None else []


class UnreadableError(ValueError):
    """The file is not YAML that the Collector reads; `line` says where, when that is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def walk(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    """Yield the node and everything below it, each with the keys that lead to it."""
    visited: set[int] = set()
    pending = [(path, node)]
    while pending:
        path, node = pending.pop()
        yield path, node
        # A part that is shared by aliases is descended into once: lists of lists of aliases would never end.
        if id(node) in visited:
            continue
        visited.add(id(node))
        pending.extend((f"{path}.{key}", value) for key, value in node.items())
        pending.extend((path, element) for element in node.elements or ())


def kind_of(name: str) -> str:
    """Return `otlp` for `otlp/second`."""
    return name.partition("/")[0]


def number(value: Scalar) -> float | None:
    """Return a number, also one that is written as text; None for anything else, such as `${env:NAME}`."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(str(value).replace("_", ""))
    except ValueError:
        return None


def is_open(value: Scalar) -> bool:
    """Return whether the value is known only when the Collector starts."""
    return isinstance(value, str) and "${" in value


@dataclass(slots=True)
class _Reader:
    constructor: _Constructor
    nodes: dict[int, Node] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)

    def read(self, source: yaml.Node, depth: int = 0) -> Node:
        import yaml

        line = source.start_mark.line + 1
        if id(source) in self.nodes:
            return self.nodes[id(source)]
        if id(source) in self.open:
            raise UnreadableError("this contains itself (an alias to what it stands in)", line)
        if depth > _MAX_DEPTH:
            raise UnreadableError("nested too deeply", line)
        self.open.add(id(source))
        if isinstance(source, yaml.MappingNode):
            node = Node(line, entries=self._entries(source, depth))
        elif isinstance(source, yaml.SequenceNode):
            node = Node(line, elements=tuple(self.read(element, depth + 1) for element in source.value))
        else:
            scalar: Scalar = source.value
            # With a colon it is a number to base 60 for YAML 1.1, and a text for the Collector.
            if source.tag.rpartition(":")[2] in ("int", "float", "bool", "null") and ":" not in source.value:
                with suppress(ValueError):
                    scalar = self.constructor.construct_object(source)
            node = Node(line, value=scalar)
        self.open.discard(id(source))
        self.nodes[id(source)] = node
        return node

    def _entries(self, source: yaml.Node, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in source.value:
            line = key.start_mark.line + 1
            if key.id != "scalar":
                raise UnreadableError("a key must be a text", line)
            node = self.read(value, depth + 1)
            if key.tag.endswith(":merge"):
                for mapping in node.elements or (node,):
                    merged = {**mapping.entries, **merged} if mapping.entries else merged
            elif key.value in entries:
                raise UnreadableError(f'"{key.value}" stands here twice', line)
            else:
                # A value may begin lines below its key; findings name the key's line.
                entries[key.value] = Node(line, node.entries, node.elements, node.value)
        return {**merged, **entries}


def read(text: str) -> Node:
    """Return the tree of a file.

    Raises:
        UnreadableError: it is not YAML, not one document, or not a mapping at the top.
    """
    import yaml

    loader = yaml.SafeLoader("")
    try:
        document = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(document, yaml.MappingNode):
            raise UnreadableError("this is no collector configuration: sections such as receivers: are missing", 1)
        return _Reader(loader).read(document)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise UnreadableError(f"not YAML: {problem}", None if mark is None else mark.line + 1) from None
    except RecursionError:
        raise UnreadableError("nested too deeply") from None
    finally:
        loader.dispose()
