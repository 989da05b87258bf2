"""What is no generation is left alone: files, batches, fine-tuning, assistants, vector stores and the like."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import openai
import openai.resources
import pytest

import llm_otel_broadcast
from llm_otel_broadcast.clients.openai.targets import TARGETS
from llm_otel_broadcast.stand_in.answers import Answer

NO_GENERATION = (
    "admin",
    "audio.voice_consents",
    "audio.voices",
    "beta.agents.environments",
    "beta.agents.vaults",
    "beta.chatkit.threads",
    "beta.realtime.sessions",
    "beta.realtime.transcription_sessions",
    "beta.responses.input_tokens",
    "beta.responses.responses.Responses.cancel",
    "beta.threads.messages",
    "beta.vector_stores",
    "chat.completions.completions.Completions.update",
    "containers",
    "content_provenance_checks",
    "conversations",
    "evals.evals",
    "files",
    "fine_tuning.jobs",
    "models",
    "realtime.client_secrets",
    "realtime.translations.client_secrets",
    "responses.input_tokens",
    "responses.responses.Responses.cancel",
    "safety",
    "skills",
    "uploads",
    "vector_stores",
    "webhooks",
)
"""Resources, or single methods of them, that call no model."""
NOT_RECORDED = {
    "batches": "batches",
    "beta.agents": "`beta.agents`",
    "beta.assistants": "assistants",
    "beta.chatkit": "`beta.chatkit`",
    "beta.threads": "assistants",
    "evals.runs": "evals",
    "fine_tuning.alpha.graders": "graders",
    "live": "`live`",
    "realtime.calls": "`realtime.calls`",
    "realtime.translations": "`realtime.translations`",
    "videos": "`videos`",
}
"""Resources whose calls have a model work for them, but later and elsewhere; and what the README calls them."""
UNTOUCHED = tuple(name for name in (*NO_GENERATION, *NOT_RECORDED) if name.count(".") < 3)


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


def requesting_methods():
    """Yield the methods of the client that post or open a web socket, by the path of their resource."""
    resources()
    for module in [name for name in sys.modules if name.startswith("openai.resources.")]:
        for owner in list(vars(sys.modules[module]).values()):
            if not isinstance(owner, type) or owner.__module__ != module or "With" in owner.__name__:
                continue
            for name, function in vars(owner).items():
                names = getattr(getattr(inspect.unwrap(function), "__code__", None), "co_names", ())
                if "_post" in names or (name == "connect" and any(one.endswith("Manager") for one in names)):
                    yield f"{module.removeprefix('openai.resources.')}.{owner.__name__}.{name}", owner, name


def is_below(path, names):
    plain = path.replace(".Async", ".")
    return any(f"{plain}.".startswith(f"{name}.") for name in names)


def test_every_method_that_requests_anything_is_patched_or_known_to_be_no_generation():
    """What a newer client adds is named here, until somebody has decided what it is."""
    patched = {
        (getattr(sys.modules[target.module], target.owner, None), target.method)
        for target in TARGETS
        if target.module in sys.modules
    }
    methods = list(requesting_methods())
    assert len(methods) > 60
    undecided = [
        path
        for path, owner, name in methods
        if (owner, name) not in patched and not is_below(path, (*NO_GENERATION, *NOT_RECORDED))
    ]
    assert not undecided
    assert not [path for path, owner, name in methods if (owner, name) in patched and is_below(path, NO_GENERATION)]


def test_the_readme_names_what_has_a_model_work_and_is_not_recorded():
    text = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8").lower()
    section = text[text.index("| of the client | what |") : text.index("one client instead of all")]
    assert not [name for name in NOT_RECORDED.values() if name not in section]


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
