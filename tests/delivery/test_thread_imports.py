"""What our threads import: nothing that the host's client may be looking for in `sys.modules` meanwhile.

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

from llm_otel_broadcast.receiver import Reply

HTTP_CLIENTS: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "aiohttp"})
"""Whatever release of openai is installed: genai-prices needs one of them, and so does some other release."""
SHARED: Final = "pydantic"
"""genai-prices is made of it. No client looks it up: that is what the scan is for."""
LOOK_UP: Final = re.compile(
    r"""sys\.modules(?:\.get\(\s*|\[)["']([\w.]+)["']|["']([\w.]+)["']\s+(?:not\s+)?in\s+sys\.modules"""
)
NAME: Final = re.compile(r"[\w.-]+")
PROGRAM: Final = """
import json, sys, threading

imports = []

class Watch:
    # Asked for each module that is not there yet, on the thread that imports it; it finds none.
    def find_spec(name, path=None, target=None):
        if threading.current_thread().name.startswith("llm-otel-broadcast"):
            imports.append(name)

sys.meta_path.insert(0, Watch)
import openai, llm_otel_broadcast
from llm_otel_broadcast import Destination, trace_context
base_url, endpoint, other = sys.argv[1:]
llm_otel_broadcast.instrument(
    destinations=[
        Destination(name="json", endpoint=endpoint, batch_delay=0.0, redact=lambda text: text.upper()),
        Destination(name="protobuf", endpoint=other, encoding="protobuf", batch_delay=0.0),
        Destination(name="privacy", endpoint=other, privacy_mode=True, batch_delay=0.0),
    ],
    on_generation=lambda generation: None,
)
question = [{"role": "user", "content": "Hi"}]
with openai.OpenAI(api_key="x", base_url=base_url) as client, trace_context(trace_name="t", span_name="s"):
    client.chat.completions.create(model="gpt-4o-mini", messages=question)
    client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=question)
    for _ in client.chat.completions.create(model="gpt-4o-mini", messages=question, stream=True):
        pass
    client.embeddings.create(model="text-embedding-3-small", input="Hi")
llm_otel_broadcast.flush(20)
print(json.dumps([sorted(set(imports)), [lane.delivered for lane in llm_otel_broadcast.status().destinations]]))
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


def test_our_threads_import_no_module_of_the_hosts_client(stand_in, receiver):
    """Pricing, dialects, both encodings, an answer that is an error and one in protobuf: all that is imported late."""
    receiver.script(Reply(503), Reply(415))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, stand_in.base_url, receiver.endpoint, receiver.endpoint],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    imports, delivered = json.loads(done.stdout)
    assert min(delivered) > 0
    # The test sees the threads' imports at all.
    assert "genai_prices" in imports
    client = modules_of_the_client()
    assert {"openai", SHARED} <= client
    forbidden = (client - {SHARED}) | looked_up_by(client) | HTTP_CLIENTS
    assert [name for name in imports if name.partition(".")[0] in forbidden] == []
