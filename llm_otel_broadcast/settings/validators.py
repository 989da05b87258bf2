"""What values a setting takes. One `Kind` checks arguments and reads the text of environment variables.

The settings themselves stand in one place: the fields of `Options` and `Destination`, each with its kind (`is_a`).
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

_MAX_SECONDS: Final = 3600
CONTENT_CHARS: Final = (256, 10_000_000)
"""The least and the most characters that one content attribute may be allowed."""
_TRUTHS: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


class Kind(NamedTuple):
    """A kind of value.

    Attributes:
        faults: says what is wrong with the value of a field, nothing when it is fine. Shows no secret.
        read: makes a value of a variable's text; what it cannot read it returns as it is, for `faults` to name. Raises
            ValueError with the reason where the text itself must not be shown.
        written: how a person writes it into a variable.
    """

    faults: Callable[[str, Any], list[str]]
    read: Callable[[str], object]
    written: str


def is_a(kind: Kind | None) -> Mapping[str, Kind | None]:
    """Return the metadata of a dataclass field that holds this kind of value; None: an object, which only code can give."""
    return {"kind": kind}


def kinds_of(settings_type: type) -> dict[str, Kind]:
    """Return the kind of each field that has one."""
    return {
        field.name: field.metadata["kind"] for field in dataclasses.fields(settings_type) if field.metadata.get("kind")
    }


def faults_of(settings: object) -> list[str]:
    """Say what is wrong with the fields of an instance."""
    kinds = kinds_of(type(settings))
    return [fault for name, kind in kinds.items() for fault in kind.faults(name, getattr(settings, name))]


def _unless(holds: Callable[[object], bool], says: str) -> Callable[[str, object], list[str]]:
    return lambda name, value: [] if holds(value) else [f"{name} must be {says}, got {value!r}"]


def in_text(fault: str) -> str:
    """Return a fault in the words of a settings file or a variable, which know neither True nor None."""
    return fault.replace("None, True or False", "true or false").replace("True or False", "true or false")


def nearest_name(name: str, candidates: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the candidate that is most like a misspelt name, None when none reaches the likeness (0 to 1)."""
    # Imported here: only a program with a wrong setting pays for it.
    from difflib import get_close_matches

    matches = get_close_matches(name, list(candidates), 1, likeness)
    return matches[0] if matches else None


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return a question after the name that was meant, empty when none is near."""
    match = nearest_name(name, candidates)
    return f' (did you mean "{match}"?)' if match else ""


def _read_truth(text: str) -> object:
    return _TRUTHS.get(text.lower(), text)


def _reader_of(number_type: type[float | int]) -> Callable[[str], object]:
    """Return what reads a number of this type; any other text stays as it is, so that the check can name it."""

    def read(text: str) -> object:
        try:
            return number_type(text)
        except ValueError:
            return text

    return read


def _is_number(value: object, kinds: type | tuple[type, ...], least: float, most: float) -> bool:
    # To Python True is the number 1.
    return isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= most  # type: ignore[operator]


def seconds(least: float) -> Kind:
    """Return the kind of a time that somebody waits."""
    says = f"a number of seconds from {least:g} to {_MAX_SECONDS}"
    return Kind(
        _unless(lambda value: _is_number(value, (int, float), least, _MAX_SECONDS), says), _reader_of(float), says
    )


def share(least: float) -> Kind:
    """Return the kind of a share of something, up to all of it."""
    says = f"a number from {least:g} to 1"
    return Kind(_unless(lambda value: _is_number(value, (int, float), least, 1), says), _reader_of(float), says)


def whole(unit: str, least: int, most: int = sys.maxsize) -> Kind:
    """Return the kind of a whole number of something."""
    bounds = f", at least {least}" if most == sys.maxsize else f" from {least} to {most}"
    says = f"a whole number of {unit}{bounds}"
    return Kind(_unless(lambda value: _is_number(value, int, least, most), says), _reader_of(int), says)


def choice(*words: str) -> Kind:
    """Return the kind of a setting with a few words to choose from."""
    quoted = [f'"{word}"' for word in words]
    says = f"{', '.join(quoted[:-1])} or {quoted[-1]}" if len(quoted) > 1 else quoted[0]
    return Kind(_unless(lambda value: value in words, says), str, says.replace('"', "`"))


TRUTH: Final = Kind(_unless(lambda value: isinstance(value, bool), "True or False"), _read_truth, "`true` or `false`")
TRUTH_OR_AUTO: Final = Kind(
    _unless(lambda value: isinstance(value, bool) or value == "auto", '"auto", True or False'),
    _read_truth,
    "`auto`, `true` or `false`",
)
TRUTH_OR_NONE: Final = Kind(
    _unless(lambda value: value is None or isinstance(value, bool), "None, True or False"),
    _read_truth,
    "`true` or `false`",
)
TEXT: Final = Kind(_unless(lambda value: isinstance(value, str), "text"), str, "text")
TEXT_OR_NONE: Final = Kind(
    _unless(lambda value: value is None or (isinstance(value, str) and bool(value)), "text"), str, "text"
)


def _file_faults(name: str, value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, str) or not value or "\0" in value:
        return [f"{name} must be the path of a file, got {value!r}"]
    # Checked at once, not at the first connection, when nobody reads the error any more.
    if not os.path.isfile(os.path.expanduser(value)):  # noqa: PTH111, PTH113  # neither raises
        return [f'{name} "{value}": there is no such file']
    return []


FILE_OR_NONE: Final = Kind(_file_faults, str, "the path of a file")


TEXTS: Final = Kind(
    _unless(
        # To Python a text is a sequence of texts as well.
        lambda value: (
            isinstance(value, Sequence)
            and not isinstance(value, str | bytes)
            and all(isinstance(item, str) and item for item in value)
        ),
        'a list of texts such as ["tenant"]',
    ),
    lambda text: [item.strip() for item in text.split(",") if item.strip()],
    "`key,key`",
)


def some_of(*words: str) -> Kind:
    """Return the kind of a setting that is a set of a few words."""
    return Kind(
        _unless(
            lambda value: (
                isinstance(value, Collection)
                and not isinstance(value, str | bytes)
                and all(item in words for item in value)
            ),
            f"a set of {', '.join(words)}",
        ),
        TEXTS.read,
        "`word,word` of " + ", ".join(f"`{word}`" for word in words),
    )


def split_pair(text: str) -> tuple[str, str] | None:
    """Split `KEY=VALUE`, white space around both taken off; None: it is none."""
    key, separator, value = text.partition("=")
    return (key.strip(), value.strip()) if separator and key.strip() else None


def read_pairs(text: str) -> dict[str, str]:
    """Read comma-separated `key=value` pairs, URL-encoded, as OpenTelemetry's variables have them.

    Raises:
        ValueError: naming the pair that is none by its position, never by its text.
    """
    pairs = {}
    for position, entry in enumerate(text.split(",")):
        if not entry.strip():
            continue
        pair = split_pair(entry)
        if pair is None:
            raise ValueError(f"entry {position + 1} is not key=value (entries are separated by commas)")
        pairs[unquote(pair[0])] = unquote(pair[1])
    return pairs


def read_json(text: str) -> object:
    """Read JSON.

    Raises:
        ValueError: naming the place that is wrong, never its text.
    """
    import json

    # json's error carries the whole text, which may hold a key: only the position of the fault is passed on.
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_mapping(text: str) -> object:
    """Read a JSON object, or `key=value` pairs separated by commas. Raises ValueError like those."""
    return read_json(text) if text.startswith("{") else read_pairs(text)


MAPPING_WRITTEN: Final = "a JSON object, or `key=value,key=value` (URL-encoded)"
