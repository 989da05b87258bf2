"""`destinations import`: what OpenRouter's destination API lists, from a file and from the API itself."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest

from llm_otel_broadcast.settings.manage.editor import SettingsFile
from llm_otel_broadcast.settings.manage.openrouter_import import _BY_PRESET
from llm_otel_broadcast.settings.presets import PRESETS
from tests.cli.commands import CANARY, TWO, lines, write

COLLECTOR = {
    "id": "8d4f",
    "type": "otel-collector",
    "name": "Collector",
    "enabled": True,
    "privacy_mode": False,
    "config": {"endpoint": "https://c.example/v1/traces", "headers": {"X-Key": CANARY}},
    "workspace_id": "w",
}


@pytest.fixture
def export(tmp_path) -> Callable[..., str]:
    def export(document: object) -> str:
        path = tmp_path / "export.json"
        path.write_text(json.dumps(document))
        return str(path)

    return export


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one], lambda one: {"data": [one], "total_count": 1}])
def test_an_export_is_read_in_each_of_its_shapes(file, run, export, wrap):
    done = run("destinations", "import", export(wrap(COLLECTOR)))
    assert done.code == 0
    assert lines(done.out)[0] == ["imported", "Collector", "https://c.example/v1/traces"]
    assert SettingsFile(file).table("Collector") == {
        "name": "Collector",
        "endpoint": "https://c.example/v1/traces",
        "headers": {"X-Key": CANARY},
    }


def one(kind: str, config: object, **more: object) -> dict[str, object]:
    return {"type": kind, "name": "it", "config": config, **more}


@pytest.mark.parametrize(
    ("entry", "table"),
    [
        (
            one("webhook", {"url": "https://w/x"}),
            {"endpoint": "https://w/x", "encoding": "json", "dialect": "openrouter"},
        ),
        (
            one("webhook", {"url": "https://w/x", "method": "PUT"}),
            {"endpoint": "https://w/x", "encoding": "json", "dialect": "openrouter", "method": "PUT"},
        ),
        (one("otel-collector", {"endpoint": "http://c"}, enabled=False), {"endpoint": "http://c", "enabled": False}),
        (
            one("otel-collector", {"endpoint": "http://c"}, privacy_mode=True),
            {"endpoint": "http://c", "privacy_mode": True},
        ),
        (one("grafana", {"endpoint": "https://g/v1/traces"}), {"endpoint": "https://g/v1/traces"}),
        (
            one("otel-collector", {"endpoint": "http://c", "headers": {"Authorization": "Bearer xaat...AbCd"}}),
            {"endpoint": "http://c", "headers": {"Authorization": "Bearer ${IT_AUTHORIZATION}"}},
        ),
        (
            one("otel-collector", {"endpoint": "http://c", "headers": {"A": "sk-l...AbCd", "B": "${x}"}}),
            {"endpoint": "http://c", "headers": {"A": "${IT_A}", "B": "$${x}"}},
        ),
        (
            one("otel-collector", {"endpoint": "http://c"}, api_key_hashes=["h"]),
            {"endpoint": "http://c", "enabled": False},
        ),
        (
            one("otel-collector", {"endpoint": "http://c"}, regions=["europe", "eu"]),
            {"endpoint": "http://c", "hosts": ["eu.openrouter.ai"]},
        ),
        (
            one("otel-collector", {"endpoint": "http://c"}, regions="us"),
            {"endpoint": "http://c", "hosts": ["us.openrouter.ai"]},
        ),
        (
            one("otel-collector", {"endpoint": "http://c"}, regions=["europe", "mars"]),
            {"endpoint": "http://c", "hosts": ["eu.openrouter.ai"], "enabled": False},
        ),
        (
            one(
                "otel-collector",
                {"endpoint": "http://c"},
                broadcast_generation_cost=True,
                broadcast_generation_identity=True,
                broadcast_generation_request_context=False,
            ),
            {"endpoint": "http://c", "dialect": "openrouter", "generation_metadata": ["cost", "identity"]},
        ),
        (one("otel-collector", {"endpoint": "http://c"}, regions=["global", "europe"]), {"endpoint": "http://c"}),
        (
            one("otel-collector", {"endpoint": "http://c"}, new_rule={"a": 1}),
            {"endpoint": "http://c", "enabled": False},
        ),
        (
            one("otel-collector", {"endpoint": "http://c"}, id="1", workspace_id="w", created_at="c", updated_at="u"),
            {"endpoint": "http://c"},
        ),
        *(
            (
                one("elastic", {"endpoint": f"https://e{path}", "apiKey": "a...b"}),
                {"endpoint": "https://e/v1/traces", "headers": {"Authorization": "ApiKey ${IT_AUTHORIZATION}"}},
            )
            for path in ("", "/", "/v1", "/v1/traces")
        ),
        (one("elastic", {"endpoint": "https://e", "apiKey": ""}), {"endpoint": "https://e/v1/traces"}),
    ],
)
def test_what_takes_otlp_is_taken_over(file, run, export, entry, table):
    assert run("destinations", "import", export(entry)).code == 0
    assert SettingsFile(file).table("it") == {"name": "it", **table}


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        (one("s3", {"bucket": "b"}), "s3 takes no OTLP"),
        (one("arize", {"apiKey": CANARY}), "destinations add 'it' --preset arize"),
        (one("weave", {}), "destinations add 'it' --preset weave"),
        (one("opik", {}), "destinations add 'it' --preset opik"),
        (one("ramp", {}), "there is no preset: destinations add 'it' --endpoint URL"),
        (one("elastic", {}), "destinations add 'it' --preset elastic"),
        (one("posthog", {"endpoint": "https://eu.i.posthog.com"}), "destinations add 'it' --preset posthog"),
        (one("clickhouse", {"endpoint": "https://db"}), "clickhouse takes no OTLP"),
        (one("raindrop", {}), "no OTLP endpoint of raindrop is known here"),
        (one("webhook", {"url": "https://w", "method": "PATCH"}), 'method must be "POST" or "PUT"'),
        (one("langfuse", {"secretKey": CANARY}), "destinations add 'it' --preset langfuse"),
        (one("otel-collector", {}), "its config names no endpoint"),
        (one("otel-collector", None), "its config names no endpoint"),
        (one("otel-collector", {"endpoint": "c:4318"}), 'endpoint "c:4318" needs http://'),
        (one("otel-collector", {"endpoint": "http://c", "headers": [CANARY]}), "headers must be a mapping"),
    ],
)
def test_what_does_not_is_skipped_with_a_word(file, run, export, entry, word):
    done = run("destinations", "import", export(entry))
    assert done.code == 1
    assert word in done.out
    assert not file.exists()
    as_json = run("destinations", "import", export(entry), "--json").json
    assert (as_json["ok"], as_json["imported"], word in as_json["skipped"][0]["reason"]) == (False, [], True)


@pytest.mark.parametrize(
    ("entry", "notes"),
    [
        (
            one(
                "otel-collector",
                {"endpoint": "http://c/v1/traces"},
                api_key_hashes=["h"],
                regions=["europe", "us"],
                broadcast_generation_cost=True,
                broadcast_generation_cost_allocation=True,
                broadcast_generation_identity=False,
            ),
            [
                (
                    "of its regions only the hosts are known here, so only calls to eu.openrouter.ai, us.openrouter.ai are sent"
                ),
                "it is off, for api_key_hashes cannot be taken over: enable it when that is settled",
                "of its additional generation metadata (cost) what a client knows is sent",
                "its additional generation metadata is not sent from here (broadcast_generation_cost_allocation)",
            ],
        ),
        (
            one("otel-collector", {"endpoint": "http://c/"}),
            ["its endpoint has no path: spans are posted to /v1/traces from here, there to / as it stands"],
        ),
        (
            one("elastic", {"endpoint": "https://e", "apiKey": "a...b"}),
            ["its Authorization is masked there: set IT_AUTHORIZATION in the environment"],
        ),
        (
            one("grafana", {"endpoint": "https://g/v1/traces", "instanceId": "1", "apiKey": "a...b"}),
            ["its instanceId and apiKey cannot be taken over: destinations add 'it' --preset grafana-cloud"],
        ),
    ],
)
def test_what_cannot_be_taken_over_or_is_another_here_is_noted(run, export, entry, notes):
    assert run("destinations", "import", export(entry), "--json").json["imported"] == [{"name": "it", "notes": notes}]


def test_every_preset_that_an_import_recommends_is_there():
    assert set(_BY_PRESET.values()) <= PRESETS.keys()


def test_a_name_that_is_there_is_kept_unless_it_is_to_be_replaced(file, run, export):
    write(file, TWO)
    entry = {**COLLECTOR, "name": "axiom"}
    done = run("destinations", "import", export([entry, {**COLLECTOR, "name": "new"}, {**COLLECTOR, "name": "new"}]))
    assert (done.code, done.out.count("there is one of that name already")) == (0, 2)
    assert SettingsFile(file).table("axiom")["encoding"] == "json"
    run("destinations", "import", "--replace", export(entry))
    assert "encoding" not in SettingsFile(file).table("axiom")


def test_a_dry_run_writes_nothing(file, run, export):
    done = run("destinations", "import", "--dry-run", export(COLLECTOR))
    assert (done.code, file.exists()) == (0, False)
    assert f"1 would be imported into {file}, 0 skipped\n" in done.out


def test_an_export_is_read_from_standard_input(file, run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(COLLECTOR)))
    assert run("destinations", "import", "-").code == 0
    assert SettingsFile(file).names() == ["Collector"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f'{{"a": "{CANARY}"', "it is not JSON"),
        ("5", 'it must be a destination such as {"type"'),
        ('[{"name": "x"}]', 'it must be a destination such as {"type"'),
    ],
)
def test_a_file_that_is_no_export_is_told(tmp_path, run, text, told):
    (tmp_path / "x.json").write_text(text)
    done = run("destinations", "import", str(tmp_path / "x.json"))
    assert done.code == 1
    assert f"{tmp_path / 'x.json'}: {told}" in done.err
    assert "cannot be read (No such file" in run("destinations", "import", str(tmp_path / "gone.json")).err


class Api(NamedTuple):
    url: str
    asked: list[tuple[str, str, str | None]]
    """Method, path and key of each request."""


@pytest.fixture
def api(monkeypatch) -> Iterator[Callable[..., Api]]:
    """Serve the management API as it is documented: pages of `data`, only for a management key."""
    servers = []
    monkeypatch.setenv("OPENROUTER_MANAGEMENT_KEY", CANARY)

    def serve(entries: list[object], *, page: bytes | None = None, status: int = 200, location: str = "") -> Api:
        asked: list[tuple[str, str, str | None]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.command, self.path, self.headers["Authorization"]))
                query = {name: int(value) for name, value in parse_qsl(urlsplit(self.path).query)}
                listed = entries[query["offset"] :][: query["limit"]]
                known = self.headers["Authorization"] == f"Bearer {CANARY}"
                body = json.dumps({"data": listed, "total_count": len(entries)}).encode() if page is None else page
                self.send_response(status if known else 401)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Keep quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return Api(f"http://127.0.0.1:{server.server_address[1]}/api/v1", asked)

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_all_pages_of_the_api_are_taken_over_with_the_key_of_a_variable(file, run, api):
    entries = [{**COLLECTOR, "name": f"number {number}"} for number in range(23)]
    openrouter = api(entries)
    done = run("destinations", "import", "--from-openrouter", "--api", openrouter.url)
    assert (done.code, done.err) == (0, "")
    assert SettingsFile(file).names() == [entry["name"] for entry in entries]
    assert {(method, key) for method, _, key in openrouter.asked} == {("GET", f"Bearer {CANARY}")}
    assert [path for _, path, _ in openrouter.asked] == [
        f"/api/v1/observability/destinations?offset={offset}&limit=10" for offset in (0, 10, 20)
    ]


def test_the_key_may_be_in_another_variable(run, api, monkeypatch):
    openrouter = api([COLLECTOR])
    monkeypatch.delenv("OPENROUTER_MANAGEMENT_KEY")
    asked = ("destinations", "import", "--from-openrouter", "--api", openrouter.url, "--dry-run")
    refused = run(*asked)
    assert (refused.code, openrouter.asked) == (1, [])
    assert "set OPENROUTER_MANAGEMENT_KEY: it has to hold a management key" in refused.err
    monkeypatch.setenv("MINE", CANARY)
    assert run(*asked, "--key-from-env", "MINE").code == 0


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": 403}, "answered 403: it wants a management key"),
        ({"status": 500}, "answered 500"),
        ({"page": b"<html>"}, "its answer is no JSON"),
        ({"page": b"[]"}, "its answer has no list of destinations"),
        ({"page": b'{"data": [5]}'}, 'the API: it must be a destination such as {"type"'),
        ({"page": b'{"data": "' + b"x" * 100_000 + b'"}'}, "answered 200, not to its end"),
    ],
)
def test_an_api_that_does_not_list_destinations_is_told(file, run, api, answer, told):
    done = run("destinations", "import", "--from-openrouter", "--api", api([], **answer).url)
    assert (done.code, told in done.err) == (1, True)
    assert not file.exists()


def test_the_key_follows_no_redirect_and_goes_nowhere_unencrypted(run, api):
    elsewhere = api([COLLECTOR])
    redirecting = api([], status=307, location=f"{elsewhere.url}/observability/destinations?offset=0&limit=10")
    done = run("destinations", "import", "--from-openrouter", "--api", redirecting.url)
    assert (done.code, "answered 307" in done.err, elsewhere.asked) == (1, True, [])
    plain = run("destinations", "import", "--from-openrouter", "--api", "http://openrouter.example/api/v1")
    assert (plain.code, "is not encrypted: the key is not sent there" in plain.err) == (1, True)
    dead = run("destinations", "import", "--from-openrouter", "--api", "http://127.0.0.1:1/api/v1")
    assert (dead.code, "cannot be reached" in dead.err) == (1, True)


def test_an_import_has_one_source(run, export):
    assert run("destinations", "import").code == 2
    assert run("destinations", "import", export(COLLECTOR), "--from-openrouter").code == 2
