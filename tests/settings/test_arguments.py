"""The arguments of `instrument()` and `BroadcastSpanProcessor`: said once, checked by name, all documented."""

from __future__ import annotations

import inspect
import typing

import pytest
from opentelemetry.sdk.trace.export import SpanExporter

from llm_otel_broadcast import BroadcastSpanProcessor, ConfigError, Destination, instrument
from llm_otel_broadcast.instrumentation import argument_names
from llm_otel_broadcast.settings.destination import SHORTHAND
from llm_otel_broadcast.settings.destination_fields import DestinationFields

URL = "http://backend.example:4318"


def test_the_signature_has_at_most_22_parameters():
    assert len(inspect.signature(instrument).parameters) <= 22


def test_the_fields_of_the_one_destination_have_the_types_of_destination_or_none():
    names = {"SpanExporter": SpanExporter}
    short = typing.get_type_hints(DestinationFields, localns=names)
    full = typing.get_type_hints(Destination, localns=names)
    assert short == {name: full[name] | None for name in SHORTHAND}


@pytest.mark.parametrize("name", sorted(set(argument_names()) - {"endpoint"}))
def test_every_argument_of_instrument_arrives(name):
    """Not one may be accepted and forgotten on the way: each refuses a value that is of no use to it."""
    with pytest.raises(ConfigError) as caught:
        instrument(**{"endpoint": URL, name: object()})
    assert any(name in fault for fault in caught.value.faults)


@pytest.mark.parametrize("name", sorted(set(SHORTHAND) - {"endpoint"}))
def test_every_field_of_a_destination_arrives_at_the_span_processor(name):
    with pytest.raises(ConfigError) as caught:
        BroadcastSpanProcessor(**{"endpoint": URL, name: object()})
    assert any(name in fault for fault in caught.value.faults)


@pytest.mark.parametrize("call", [instrument, BroadcastSpanProcessor])
def test_an_unknown_argument_is_refused_with_the_nearest_name(call):
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'endpont' \(did you mean \"endpoint\"\?\)"):
        call(endpont=URL)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'name'"):
        call(endpoint=URL, name="mine")


def test_an_unknown_argument_is_refused_where_everything_is_turned_off(monkeypatch):
    monkeypatch.setenv("LLM_OTEL_BROADCAST_DISABLED", "true")
    with pytest.raises(TypeError, match=r"'destination'"):
        instrument(destination=Destination(endpoint=URL))


@pytest.mark.parametrize("name", argument_names())
def test_the_help_says_every_argument(name):
    documentation = inspect.getdoc(instrument)
    assert f"`{name}`" in documentation or f"\n    {name}: " in documentation
