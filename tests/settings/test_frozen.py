"""Settings are immutable values, as frozen dataclasses are."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest

from llm_otel_broadcast import ConfigError, Destination

URL = "http://127.0.0.1:4318/v1/traces"


def test_equal_are_those_with_equal_fields():
    assert Destination(endpoint=URL, timeout=3) == Destination(endpoint=URL, timeout=3)
    assert Destination(endpoint=URL, timeout=3) != Destination(endpoint=URL, timeout=4)
    assert Destination(endpoint=URL) != URL


def test_it_cannot_be_changed():
    destination = Destination(endpoint=URL)
    with pytest.raises(FrozenInstanceError):
        destination.timeout = 3.0
    with pytest.raises(FrozenInstanceError):
        del destination.timeout
    with pytest.raises(TypeError, match="unhashable"):
        hash(destination)
    assert not hasattr(destination, "__dict__")


def test_it_is_a_dataclass_and_a_changed_copy_is_checked():
    destination = Destination(endpoint=URL, name="mine")
    assert is_dataclass(destination)
    changed = replace(destination, timeout=3.0)
    assert (changed.name, changed.timeout, destination.timeout) == ("mine", 3.0, 10.0)
    with pytest.raises(ConfigError, match="timeout"):
        replace(destination, timeout=-1)


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda destination: pickle.loads(pickle.dumps(destination))]
)
def test_a_copy_is_equal(duplicate):
    destination = Destination(endpoint=URL, headers={"x": "y"}, hide=["inputs"])
    twin = duplicate(destination)
    assert twin == destination
    assert twin is not destination


def test_fields_are_given_by_name():
    with pytest.raises(TypeError):
        Destination(URL)
    with pytest.raises(TypeError, match="unexpected keyword argument 'endpont'"):
        Destination(endpont=URL)


def test_editors_are_shown_every_field_with_its_default():
    parameters = inspect.signature(Destination).parameters
    assert list(parameters) == [field.name for field in fields(Destination)]
    assert (parameters["timeout"].default, parameters["headers"].default) == (10.0, {})
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
