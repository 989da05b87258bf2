"""Settings of anybody's: a file and variables are read, or refused with faults that a person can mend."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast import ConfigError
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.environment import variables
from llm_otel_broadcast.settings.file import FileSettings, default_names, read_file
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.settings.precedence import resolve_options
from llm_otel_broadcast.settings.validators import kinds_of
from tests.support.fuzzing import fuzzed

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
WORDS = st.sampled_from(
    [
        *(
            "true",
            "false",
            "1",
            "0",
            "-1",
            "1e400",
            "nan",
            "",
            " ",
            "https://u:p@h/v1",
            "http://[",
            "auto",
            "json",
            "${A}",
        ),
        *(
            "${",
            "$${A}",
            "a=b,c=%zz",
            "=",
            "{",
            '{"a": 1}',
            "[[]]",
            "inputs",
            "a\nb",
            "\U0001f600",
            "9" * 400,
            "file://x",
        ),
    ]
)
TOML = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXTS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS.filter(bool), inner, max_size=3),
    max_leaves=6,
)
TABLE = st.dictionaries(st.sampled_from([*kinds_of(Destination)]) | TEXTS.filter(bool), TOML, max_size=4)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "enabled": TOML,
        "defaults": st.dictionaries(st.sampled_from(default_names()) | TEXTS.filter(bool), TOML, max_size=4) | TOML,
        "destinations": st.lists(TABLE, max_size=3) | TOML,
    },
)


def read(content: bytes) -> FileSettings | str:
    """Return what a file says, or the faults that it is refused for."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "settings.toml"
        path.write_bytes(content)
        try:
            return read_file(path, {"A": "secret"})
        except ConfigError as error:
            return str(error).replace(str(path), "FILE")


@fuzzed
@given(document=FILES)
def test_a_file_of_any_values_is_read_or_refused(document):
    settings = read(tomlkit.dumps(document).encode())
    assert "FILE" in settings if isinstance(settings, str) else len(settings.destinations) == len(settings.tables)


@fuzzed
@given(content=st.binary(max_size=80) | TEXTS.map(lambda text: f"[[destinations]]\nendpoint = {text}".encode()))
def test_a_file_of_any_bytes_is_read_or_refused(content):
    settings = read(content)
    assert isinstance(settings, FileSettings) or "FILE" in settings


NAMES = [variable.name for variable in variables()]


@fuzzed
@given(environ=st.dictionaries(st.sampled_from(NAMES), TEXTS | WORDS, max_size=4))
def test_variables_of_any_text_are_read_or_refused(environ):
    with suppress(ConfigError):
        assert isinstance(resolve_options({}, environ), Options)
