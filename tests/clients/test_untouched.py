"""What is no generation is left alone: files, batches, fine-tuning, assistants, vector stores and the like."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import openai
import openai.resources
import pytest

import llm_otel_broadcast
from llm_otel_broadcast.clients.openai.targets import TARGETS
from llm_otel_broadcast.stand_in.answers import Answer

UNTOUCHED = (
    "batches",
    "beta.assistants",
    "beta.threads",
    "beta.vector_stores",
    "containers",
    "conversations",
    "evals",
    "files",
    "fine_tuning",
    "models",
    "uploads",
    "vector_stores",
    "videos",
    "webhooks",
)


def resources():
    """Return every class of the client's resources, raw and streaming twins included; its lazy imports stay asleep."""
    for module in pkgutil.walk_packages(openai.resources.__path__, "openai.resources."):
        importlib.import_module(module.name)
    names = [name for name in sys.modules if name.startswith("openai.resources")]
    return {
        made
        for name in names
        for made in vars(sys.modules[name]).values()
        if issubclass(type(made), type) and made.__module__.startswith("openai.resources")
    }


def attributes():
    return {(made, name): value for made in resources() for name, value in vars(made).items()}


def test_nothing_but_the_table_is_patched_and_everything_comes_back(instrumented):
    before = attributes()
    assert len(before) > 500
    instrumented()
    during = attributes()
    assert during.keys() == before.keys()
    changed = {key for key in before if during[key] is not before[key]}
    owners = {
        (getattr(sys.modules[target.module], target.owner, None), target.method)
        for target in TARGETS
        if target.module in sys.modules
    }
    assert changed == owners & before.keys()
    assert len(changed) >= 20
    llm_otel_broadcast.uninstrument()
    after = attributes()
    assert not [key for key in before if after[key] is not before[key]]


@pytest.mark.parametrize("name", UNTOUCHED)
def test_no_class_of_a_resource_without_generations_is_in_the_table(name):
    assert not [target for target in TARGETS if f"{target.module}.".startswith(f"openai.resources.{name}.")]


CALLS = {
    "files": lambda client: client.files.create(file=("a.jsonl", b"{}"), purpose="batch"),
    "batches": lambda client: client.batches.create(
        input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h"
    ),
    "fine_tuning": lambda client: client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file-1"),
    "uploads": lambda client: client.uploads.create(bytes=1, filename="a", mime_type="text/plain", purpose="batch"),
    "vector_stores": lambda client: (
        client if hasattr(client, "vector_stores") else client.beta
    ).vector_stores.create(),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_generates_nothing_makes_no_span(name, client, stand_in, instrumented, arrived):
    stand_in.script(Answer(body=b'{"id": "made-1"}'))
    instrumented()
    assert CALLS[name](client).id == "made-1"
    arrived(0)
    assert len(stand_in.requests) == 1
