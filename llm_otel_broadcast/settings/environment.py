"""The environment variables `LLM_OTEL_BROADCAST_*`: one for every option that can be written as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final, NamedTuple

from llm_otel_broadcast.settings.destination import SHORTHAND, Destination
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.frozen import default_of
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.settings.validators import TRUTH, Kind, in_text, kinds_of, nearest_name

PREFIX: Final = "LLM_OTEL_BROADCAST_"
DISABLED: Final = f"{PREFIX}DISABLED"
SDK_DISABLED: Final = "OTEL_SDK_DISABLED"
_MIN_LIKENESS: Final = 0.8


class Variable(NamedTuple):
    """An environment variable, and the option of `instrument()` that it sets."""

    name: str
    option: str
    kind: Kind
    default: object


def variable_of(option: str) -> str:
    """Return the name of an option's variable."""
    return PREFIX + option.upper()


def variables() -> tuple[Variable, ...]:
    """Return all variables, derived from the fields of `Destination` and `Options`."""
    shorthand_kinds = {name: kind for name, kind in kinds_of(Destination).items() if name in SHORTHAND}
    return (*_variables_of(Destination, shorthand_kinds), *_variables_of(Options, kinds_of(Options)))


def _variables_of(settings_type: type, kinds: Mapping[str, Kind]) -> list[Variable]:
    return [
        Variable(
            variable_of(option.name),
            option.name,
            kinds[option.name],
            default_of(option),
        )
        for option in fields(settings_type)
        if option.name in kinds
    ]


def read_variables(environ: Mapping[str, str]) -> dict[str, object]:
    """Return the values of the variables, by option; an empty variable counts as not set.

    The value of a faulty variable is its ConfigError: it matters only if no stronger source gives the option.
    """
    values: dict[str, object] = {}
    for variable in variables():
        # An empty variable counts as unset, as in OpenTelemetry's specification.
        text = environ.get(variable.name, "").strip()
        if not text:
            continue
        value: object = None
        try:
            value = variable.kind.read(text)
            faults = variable.kind.faults(variable.option, value)
        except ConfigError as wrong:
            faults = list(wrong.faults)
        except ValueError as reason:
            faults = [str(reason)]
        error = ConfigError([f"{variable.name}: {in_text(fault)}" for fault in faults]) if faults else None
        values[variable.option] = error or value
    return values


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """Return a message for each variable that looks like a misspelt one of ours."""
    # A privacy setting that is misspelt must not pass in silence.
    names = {"DISABLED", "CONFIG", *(variable.option.upper() for variable in variables())}
    unknown = sorted({name.removeprefix(PREFIX) for name in environ if name.startswith(PREFIX)} - names)
    if not unknown:
        return []
    pairs = [(name, nearest_name(name, names, _MIN_LIKENESS)) for name in unknown]
    return [f"{PREFIX}{name} is no setting: did you mean {PREFIX}{likely}?" for name, likely in pairs if likely]


def notices(environ: Mapping[str, str]) -> list[str]:
    """Return a message for each variable with an unexpected meaning: misspelt ones, and an odd value of `OTEL_SDK_DISABLED`."""
    stated = environ.get(SDK_DISABLED, "").strip()
    is_odd = stated.lower() not in ("", "true", "false")
    odd = [f'{SDK_DISABLED}={stated} counts as false: by the specification only "true" disables'] if is_odd else []
    return [*misspelt(environ), *odd]


def disabling(environ: Mapping[str, str]) -> str | None:
    """Return the variable that turns everything off, None when none does.

    Raises:
        ConfigError: `LLM_OTEL_BROADCAST_DISABLED` is neither true nor false.
    """
    # Nothing but "true" counts as true (OpenTelemetry specification, SDK environment variables).
    if environ.get(SDK_DISABLED, "").strip().lower() == "true":
        return SDK_DISABLED
    return DISABLED if stated_disabled(environ) else None


def stated_disabled(environ: Mapping[str, str]) -> bool | None:
    """Return the value of `LLM_OTEL_BROADCAST_DISABLED`, None when it is not set. False wins over the file's `enabled`.

    Raises:
        ConfigError: it is neither true nor false.
    """
    text = environ.get(DISABLED, "").strip()
    value = TRUTH.read(text or "false")
    faults = TRUTH.faults(DISABLED, value)
    if faults:
        raise ConfigError([in_text(fault) for fault in faults])
    return bool(value) if text else None
