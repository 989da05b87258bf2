"""What our threads import: nothing that the host's client may be looking for in `sys.modules` meanwhile.

And a child that was forked in the middle of an import waits for ever once it imports that module itself.

openai 2.47 to 2.54 look up `sys.modules["httpx2"]` in each call and use what they find. While another thread is in the
middle of importing that module, each call of the host fails with `AttributeError`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from llm_otel_broadcast.receiver import OtlpReceiver, Reply
from tests.support.certificates import Authority
from tests.support.scripted_backends import serving
from tests.support.stand_in.server import StandIn

HTTP_CLIENTS: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "aiohttp"})
"""Whatever release of openai is installed: genai-prices needs one of them, and so does some other release."""
SHARED: Final = "pydantic"
"""genai-prices is made of it. No client looks it up: that is what the scan is for."""
LOOK_UP: Final = re.compile(
    r"""sys\.modules(?:\.get\(\s*|\[)["']([\w.]+)["']|["']([\w.]+)["']\s+(?:not\s+)?in\s+sys\.modules"""
)
NAME: Final = re.compile(r"[\w.-]+")
PROGRAM: Final = """
import atexit, json, sys, threading

imports = []

@atexit.register
def tell():  # after the exit handler of ours, which was registered later
    print(json.dumps([imports, delivered]))

class Watch:
    # Asked for each module that is not there yet, on the thread that imports it; it finds none.
    def find_spec(name, path=None, target=None):
        if threading.current_thread().name.startswith("llm-otel-broadcast"):
            imports.append([name, importing._lock._is_owned() or is_exporting()])

def is_exporting():  # what an exporter of the program's imports is not ours to choose
    frame = sys._getframe()
    while frame and not frame.f_globals.get("__name__", "").startswith("opentelemetry.exporter."):
        frame = frame.f_back
    return frame is not None

sys.meta_path.insert(0, Watch)
import openai, llm_otel_broadcast
from llm_otel_broadcast import Destination, trace_context
from llm_otel_broadcast.host.import_lock import importing
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
base_url, endpoint, secure, authority = sys.argv[1:]
rules = {"groups": [{"logic": "and", "rules": [{"field": "model", "operator": "regex", "value": "gpt-|embed"}]}]}
arrives = [
    Destination(name="json", endpoint=endpoint, batch_delay=0.0, redact=lambda text: text.upper()),
    Destination(name="protobuf", endpoint=endpoint, encoding="protobuf", batch_delay=0.0),
    Destination(name="privacy", endpoint=endpoint, privacy_mode=True, batch_delay=0.0),
    Destination(name="rules", endpoint=endpoint, filter_rules=rules, batch_delay=0.0),
    Destination(name="exporter", exporter=OTLPSpanExporter(endpoint=endpoint), batch_delay=0.0),
    Destination(name="secure", endpoint=secure, certificate=authority, batch_delay=0.0),
]
fails = [
    Destination(name="unknown authority", endpoint=secure, batch_delay=0.0),
    Destination(name="no TLS", endpoint=endpoint.replace("http:", "https:"), batch_delay=0.0),
    Destination(name="no name", endpoint="http://no.such.host.invalid/v1/traces", batch_delay=0.0),
]
handle = llm_otel_broadcast.instrument(
    destinations=[*arrives, *fails], on_generation=lambda generation: None, exit_timeout=2.0
)
question = [{"role": "user", "content": "Hi"}]
with openai.OpenAI(api_key="x", base_url=base_url) as client:
    with trace_context(trace_name="t", span_name="s", key=object()):
        client.chat.completions.create(model="gpt-4o-mini", messages=question)
        client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=question)
        for _ in client.chat.completions.create(model="gpt-4o-mini", messages=question, stream=True):
            pass
        client.embeddings.create(model="text-embedding-3-small", input="Hi")
    llm_otel_broadcast.flush(3)
    delivered = {lane.name: lane.delivered for lane in llm_otel_broadcast.status().destinations}
    client.chat.completions.create(model="gpt-4o-mini", messages=question)
"""


def modules_of_the_client() -> set[str]:
    """Return the top-level modules of openai and of everything that it depends on, itself or through others."""
    pending, projects = ["openai"], set()
    while pending:
        name = normal(pending.pop())
        with suppress(PackageNotFoundError):
            required = distribution(name).requires or [] if name not in projects else []
            pending += [match[0] for text in required if "extra ==" not in text and (match := NAME.match(text))]
        projects.add(name)
    return {module for module, owners in packages_distributions().items() if projects & set(map(normal, owners))}


def normal(project: str) -> str:
    return re.sub(r"[-_.]+", "-", project).lower()


def looked_up_by(modules: Iterable[str]) -> set[str]:
    """Return the top-level names of what these modules look for in `sys.modules`, by their sources."""
    specs = filter(None, map(find_spec, modules))
    folders = [Path(folder) for spec in specs for folder in spec.submodule_search_locations or ()]
    sources = (
        path.read_text(encoding="utf-8", errors="replace") for folder in folders for path in folder.rglob("*.py")
    )
    return {(one or other).partition(".")[0] for text in sources for one, other in LOOK_UP.findall(text)}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Run the program once; return what our threads imported, each with whether forks were waiting for it."""
    authority = Authority(tmp_path_factory.mktemp("authority"), "our-authority")
    secure = serving(context=authority.issue("server").server_context())
    with StandIn() as api, OtlpReceiver() as receiver, secure as other:
        receiver.script(Reply(503), Reply(415))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, api.base_url, receiver.endpoint, other.endpoint, authority.file],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    imports, delivered = json.loads(done.stdout)
    arrived = {name for name, count in delivered.items() if count}
    assert arrived == {"json", "protobuf", "privacy", "rules", "exporter", "secure"}
    # The test sees the threads' imports at all.
    assert "genai_prices" in dict(imports)
    return imports


def test_our_threads_import_no_module_of_the_hosts_client(seen):
    """Pricing, dialects, both encodings, TLS, an exporter, errors of all kinds and the end: all that is imported late."""
    client = modules_of_the_client()
    assert {"openai", SHARED} <= client
    forbidden = (client - {SHARED}) | looked_up_by(client) | HTTP_CLIENTS
    assert [name for name, _ in seen if name.partition(".")[0] in forbidden] == []


def test_our_threads_import_only_while_forks_wait(seen):
    assert [name for name, is_safe in seen if not is_safe] == []
