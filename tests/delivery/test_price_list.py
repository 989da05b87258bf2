"""genai-prices as it is loaded on our threads: its prices, without the HTTP client that it fetches newer ones with."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CLIENTS = "httpx", "httpx2"


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=50, check=False
    )


PRICES = """
import sys
if sys.argv[1] == "ours":
    from llm_otel_broadcast.delivery.price_list import price_list
    genai_prices = price_list()
else:
    import genai_prices
from genai_prices.data import providers
for provider in providers:
    for model in provider.models:
        try:
            usage = genai_prices.Usage(input_tokens=1_000_000, output_tokens=1_000_000, cache_read_tokens=10)
            price = genai_prices.calc_price(usage, model_ref=model.id, provider_id=provider.id).total_price
        except Exception as error:
            price = type(error).__name__
        print(provider.id, model.id, price)
"""


def test_every_model_costs_what_genai_prices_says():
    ours, theirs = run(PRICES, "ours"), run(PRICES, "theirs")
    assert (ours.returncode, theirs.returncode) == (0, 0), ours.stderr + theirs.stderr
    assert len(ours.stdout.splitlines()) > 100
    assert ours.stdout == theirs.stdout


def test_loading_the_prices_loads_no_http_client():
    done = run(f"""
import sys
from llm_otel_broadcast.delivery.price_list import price_list
before = set(sys.modules)
price_list().calc_price(price_list().Usage(input_tokens=1, output_tokens=1), model_ref="gpt-4o")
print(sorted(set({CLIENTS!r}) & (set(sys.modules) - before)))
""")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_program_that_wants_newer_prices_still_gets_them():
    """It may import genai-prices after us, whole, and by any of the ways there are."""
    done = run("""
from llm_otel_broadcast.delivery.price_list import price_list
assert price_list() is not None
import genai_prices
from genai_prices import UpdatePrices, wait_prices_updated_sync
from genai_prices.update_prices import UpdatePrices as Same
assert UpdatePrices is Same is genai_prices.UpdatePrices is price_list().UpdatePrices
assert isinstance(UpdatePrices, type) and callable(wait_prices_updated_sync)
import importlib.resources
assert importlib.resources.files("genai_prices").joinpath("__init__.py").is_file()
try:
    genai_prices.no_such_name
except AttributeError as error:
    print(error)
""")
    assert (done.stdout, done.stderr) == ("module 'genai_prices' has no attribute 'no_such_name'\n", "")


def test_prices_that_a_program_has_loaded_are_the_ones_that_count():
    done = run("""
import genai_prices
from llm_otel_broadcast.delivery.price_list import price_list
print(price_list() is genai_prices)
""")
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_threads_that_need_the_prices_at_once_get_the_same_whole_list():
    """Among them one of the program's own that imports genai-prices the plain way meanwhile, newer prices and all."""
    done = run("""
import threading
from llm_otel_broadcast.delivery.price_list import price_list
barrier, found = threading.Barrier(5), []

def ours():
    barrier.wait()
    prices = price_list()
    usage = prices.Usage(input_tokens=1_000_000, output_tokens=0)
    found.append((prices, prices.calc_price(usage, model_ref="gpt-4o", provider_id="openai").total_price > 0))

def theirs():
    barrier.wait()
    import genai_prices
    from genai_prices import UpdatePrices
    import genai_prices.update_prices as updates
    found.append((genai_prices, UpdatePrices is updates.UpdatePrices))

threads = [threading.Thread(target=target, daemon=True) for target in (ours, ours, theirs, ours, theirs)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(30)
modules, well = zip(*found)
print(len(found), len(set(map(id, modules))), all(well))
""")
    assert (done.stdout, done.stderr) == ("5 1 True\n", "")


NO_METADATA = """
import importlib.metadata
whole = importlib.metadata.version
def pruned(name):
    if name.replace("-", "_") == "genai_prices":
        raise importlib.metadata.PackageNotFoundError(name)
    return whole(name)
importlib.metadata.version = pruned
"""
NO_PACKAGE = """
import sys
sys.modules["genai_prices"] = None
"""
NO_PRICES = """
import sys
sys.modules["genai_prices.data"] = None
"""


@pytest.mark.parametrize(
    "how", [NO_METADATA, NO_PACKAGE, NO_PRICES], ids=["without its metadata", "not there", "without its prices"]
)
def test_a_price_list_that_cannot_be_imported_is_said_once_and_costs_nothing_else(how, stand_in, receiver):
    """PyInstaller and pruned images leave package metadata out: no cost, and nobody knew why."""
    done = run(
        how
        + """
import json, logging, sys
said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("llm_otel_broadcast").addHandler(handler)
import openai, llm_otel_broadcast
from llm_otel_broadcast import Destination
base_url, endpoint = sys.argv[1:]
llm_otel_broadcast.instrument(destinations=[Destination(endpoint=endpoint, batch_delay=0.0)])
with openai.OpenAI(api_key="x", base_url=base_url) as client:
    for number in range(3):
        client.chat.completions.create(model=f"gpt-4o-{number}", messages=[{"role": "user", "content": "Hi"}])
        assert llm_otel_broadcast.flush(20)
print(json.dumps([said, dict(llm_otel_broadcast.status().internal_errors)]))
""",
        stand_in.base_url,
        receiver.endpoint,
    )
    assert done.returncode == 0, done.stderr
    said, errors = json.loads(done.stdout)
    assert len(receiver.store.spans()) == 3
    assert not any("gen_ai.usage.total_cost" in span.attributes for span in receiver.store.spans())
    assert len(said) == 1
    assert "genai-prices" in said[0]
    assert "estimate_cost=False" in said[0]
    assert errors == {"importing genai-prices": 1}
