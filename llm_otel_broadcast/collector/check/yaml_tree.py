"""A YAML file as a tree that knows its lines. Shared parts (anchors) are read once, so no file grows in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import yaml

_DEEPEST: Final = 60


@dataclass(frozen=True, slots=True)
class Node:
    """One value with the line it stands in: a mapping, a list or a scalar.

    Attributes:
        line: from 1.
        entries: of a mapping, else None.
        elements: of a list, else None.
        value: of a scalar: text, number, truth value or None.
    """

    line: int
    entries: Mapping[str, Node] | None = None
    elements: tuple[Node, ...] | None = None
    value: Any = None

    def at(self, *path: str) -> Node | None:
        """Return what stands under these keys, None where one is missing."""
        node: Node | None = self
        for key in path:
            node = node.entries.get(key) if node is not None and node.entries is not None else None
        return node

    def scalar(self, *path: str) -> Any:
        """Return the scalar that stands there, None where there is none."""
        node = self.at(*path)
        return None if node is None else node.value

    def items(self, *path: str) -> Iterator[tuple[str, Node]]:
        """Return the entries of the mapping that stands there, none where there is no mapping."""
        node = self.at(*path)
        yield from (node.entries if node is not None and node.entries is not None else {}).items()

    @property
    def empty(self) -> bool:
        """Say whether nothing stands behind the key."""
        return self.entries is None and self.elements is None and self.value is None


class UnreadableError(ValueError):
    """The file is not YAML that the Collector reads; `line` says where, when that is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(slots=True)
class _Reader:
    constructor: Any
    done: dict[int, Node] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)

    def read(self, found: yaml.Node, depth: int = 0) -> Node:
        line = found.start_mark.line + 1
        if id(found) in self.done:
            return self.done[id(found)]
        if id(found) in self.open:
            raise UnreadableError("this contains itself (an alias to what it stands in)", line)
        if depth > _DEEPEST:
            raise UnreadableError("nested too deeply", line)
        self.open.add(id(found))
        made = self._made(found, line, depth)
        self.open.discard(id(found))
        self.done[id(found)] = made
        return made

    def _made(self, found: yaml.Node, line: int, depth: int) -> Node:
        import yaml

        if isinstance(found, yaml.MappingNode):
            return Node(line, entries=self._entries(found, depth))
        if isinstance(found, yaml.SequenceNode):
            return Node(line, elements=tuple(self.read(each, depth + 1) for each in found.value))
        return Node(line, value=self._scalar(found))

    def _entries(self, found: yaml.Node, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in found.value:
            line = key.start_mark.line + 1
            if key.id != "scalar":
                raise UnreadableError("a key must be a text", line)
            node = self.read(value, depth + 1)
            if key.tag.endswith(":merge"):
                for each in node.elements or (node,):
                    merged = {**each.entries, **merged} if each.entries else merged
            elif key.value in entries:
                raise UnreadableError(f'"{key.value}" stands here twice', line)
            else:
                # the line of the key is where a person looks
                entries[key.value] = Node(line, node.entries, node.elements, node.value)
        return {**merged, **entries}

    def _scalar(self, found: yaml.Node) -> Any:
        # with a colon it is a number to base 60 here, and a text for the Collector
        if found.tag.rpartition(":")[2] not in ("int", "float", "bool", "null") or ":" in found.value:
            return found.value
        try:
            return self.constructor.construct_object(found)
        except ValueError:
            return found.value


def read(text: str) -> Node:
    """Return the tree of a file.

    Raises:
        UnreadableError: it is not YAML, not one document, or not a mapping at the top.
    """
    import yaml

    loader = yaml.SafeLoader("")
    try:
        found = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(found, yaml.MappingNode):
            raise UnreadableError("this is no collector configuration: sections such as receivers: are missing", 1)
        return _Reader(loader).read(found)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise UnreadableError(f"not YAML: {problem}", None if mark is None else mark.line + 1) from None
    except RecursionError:
        raise UnreadableError("nested too deeply") from None
    finally:
        loader.dispose()
