"""What is called once a module has been imported."""

from __future__ import annotations

import importlib
import sys

import pytest
import wrapt

from llm_otel_broadcast.clients import import_hooks
from llm_otel_broadcast.clients.import_hooks import when_imported

NAME = "awaited_by_a_hook"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The file of a module that a test may import."""
    path = tmp_path / f"{NAME}.py"
    path.write_text("import sys\nloaded_by = __spec__.loader\nmembers = ['first']\nmembers.append('last')\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield path
    sys.modules.pop(NAME, None)


def test_it_is_called_when_the_module_has_run_to_its_end(module):
    seen = []
    when_imported(NAME, lambda: seen.append(list(sys.modules[NAME].members)))
    assert seen == []
    importlib.import_module(NAME)
    assert seen == [["first", "last"]]


def test_it_is_called_at_once_for_a_module_that_is_there(module):
    importlib.import_module(NAME)
    seen = []
    when_imported(NAME, lambda: seen.append(NAME))
    assert seen == [NAME]


def test_each_is_called_once_in_the_order_of_registration(module):
    seen = []
    for name in ("first", "second"):
        when_imported(NAME, lambda name=name: seen.append(name))
    importlib.import_module(NAME)
    del sys.modules[NAME]
    importlib.import_module(NAME)
    assert seen == ["first", "second"]


def test_the_module_looks_as_if_its_own_loader_had_loaded_it(module):
    when_imported(NAME, lambda: None)
    awaited = importlib.import_module(NAME)
    loader = awaited.__spec__.loader
    assert type(loader).__name__ == "SourceFileLoader"
    assert awaited.__loader__ is loader
    assert awaited.loaded_by is loader


def test_a_module_that_is_only_looked_for_has_a_loader_that_answers_for_its_own(module):
    seen = []
    when_imported(NAME, lambda: seen.append(NAME))
    spec = importlib.util.find_spec(NAME)
    assert spec.loader.get_source(NAME) == module.read_text()
    assert seen == []
    importlib.import_module(NAME)
    assert seen == [NAME]


def test_after_an_import_that_failed_it_waits_for_one_that_does_not(module):
    source = module.read_text()
    module.write_text("raise ImportError('not yet')\n")
    seen = []
    when_imported(NAME, lambda: seen.append(NAME))
    with pytest.raises(ImportError, match="not yet"):
        importlib.import_module(NAME)
    assert seen == []
    # Of another length, as bytecode is looked up by time and size.
    module.write_text(source)
    importlib.invalidate_caches()
    importlib.import_module(NAME)
    assert seen == [NAME]


def test_a_module_that_nobody_has_stays_away():
    when_imported("nobody_has_this_module", lambda: None)
    assert importlib.util.find_spec("nobody_has_this_module") is None


@pytest.mark.parametrize("first", ["ours", "wrapt's"])
def test_hooks_of_wrapt_for_the_same_module_are_called_as_well(module, monkeypatch, first):
    """Traceloop, ddtrace and others wait for the client in that way."""
    seen = []
    when_imported(NAME, lambda: seen.append("ours"))
    wrapt.register_post_import_hook(lambda _: seen.append("wrapt's"), NAME)
    finders = {"ours": import_hooks.__name__, "wrapt's": "wrapt.importer"}
    by_turns = sorted(sys.meta_path, key=lambda finder: type(finder).__module__ != finders[first])
    monkeypatch.setattr(sys, "meta_path", by_turns)
    importlib.import_module(NAME)
    assert sorted(seen) == ["ours", "wrapt's"]


def test_a_finder_that_knows_only_the_way_of_old_is_passed_over(module, monkeypatch):
    seen = []
    when_imported(NAME, lambda: seen.append(NAME))
    ours = next(finder for finder in sys.meta_path if type(finder).__module__ == import_hooks.__name__)
    monkeypatch.setattr(sys, "meta_path", [ours, object(), *sys.meta_path])
    assert ours.find_spec(NAME).origin == str(module)
