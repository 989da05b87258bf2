"""The page can be made of what is measured: a figure that nobody measures would be missed only at the end of a long run."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.benchmarks import __main__ as bench
from tests.benchmarks.measures import LOADS, QUANTILES
from tests.benchmarks.page import page_of, plot_of

COUNTS = {"plain": 8_000_000, "span": 8_400_000, "ours": 8_120_000, "content": 8_160_000}
RESULTS = {
    "python": "3.13.1",
    "machine": "2 cores",
    "versions": {"openai": "3.0"},
    "counts": {
        f"{mode}:{work}": COUNTS.get(mode, 8_000_100)
        for mode in ("plain", *bench._MODES, *bench._SETTINGS)
        for work in (*bench._WORKS, bench._LONG)
    },
    "background_counts": {"span": 600_000.0, "ours": 340_000.0},
    "import_counts": {"plain": 1e9, "sdk": 1.1e9, "exporter": 1.3e9, "ours": 1.2e9},
    "imports": {"plain": [500.0], "sdk": [516.0], "exporter": [538.0], "ours": [529.0, 531.0]},
    "runs": {"plain": [10.0], "ours": [24.0]},
    "ends": {"plain": [500.0], "dead": [3_000.0], "hanging": [4_000.0]},
    "delivery": {"span cpu": [87.0], "span clock": [100.0], "ours cpu": [50.0, 55.0, 70.0], "ours clock": [90.0]},
    "delivery_by_json": {"span cpu": [87.0], "ours cpu": [58.0]},
    "whole": {"plain": [900.0], "span": [1_200.0], "ours": [1_000.0]},
    "burst": {"plain": [900.0], "span": [940.0], "ours": [920.0], "delivered": [1.0]},
    "concurrent": {"plain": [900.0], "ours": [920.0]},
    "company": {
        f"{who} {what}": [3.0]
        for who in ("plain", "span", "ours")
        for what in ("steps", *(f"{load} {quantile}" for load in LOADS for quantile in QUANTILES))
    },
    "memory": {"ours": [2_500.0]},
    "rivals": {"langfuse": {"version": "5.0", "chat": 900_000.0, "chunk": 10_900.0}},
}


def test_the_page_needs_nothing_but_what_is_measured():
    assert bench.ALL.keys() <= RESULTS.keys()
    page = page_of(RESULTS)
    assert "| a chat call, content off | 0.3 of by hand | 0.30 | met |" in page
    assert "| a chat call, content on | 0.3 of by hand | 0.40 | **not met** |" in page
    assert "| exit with a dead or a hanging destination | at most 3 s | 3.5 s | **not met** |" in page
    assert "| all CPU that a generation adds, in instructions | 0.5 of by hand | 0.50 | met |" in page
    assert (
        "| import and `instrument()`, where importing the SDK alone takes 16 ms | at most 30 ms | 32 ms | **not met** |"
        in page
    )
    assert "55 µs (50 µs to 70 µs)" in page
    assert "| 30 % busy | 3.0 / 3.0 / 3.0 ms |" in page
    assert "| langfuse | 5.0 | 900 | 10.9 |" in page


def test_the_plot_is_a_picture():
    bars = ET.fromstring(plot_of(RESULTS)).findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 5
