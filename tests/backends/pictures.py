"""Pictures of our traces in the backends' own pages, for docs/backends.md: `nox -s pictures`. Chromium has to be installed."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.backends.agents import run_agent, trace_id_of
from tests.backends.broadcasts import hashed
from tests.backends.columns import COLUMNS, Column, read, send
from tests.backends.page import MAX_PICTURE_BYTES, PAGE, PICTURES
from tests.backends.programs import started

DIRECTORY = PAGE.parent / "pictures"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SIZE = {"width": 1280, "height": 860}
_COLOURS = 96
_TIMEOUT_MS = 120_000.0
_DRAWN_MS = 3_000.0
"""What moves has stopped by then: charts, panels that slide in."""
_NO_GUIDANCE = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
localStorage.setItem("mlflow.detectIssues.guidanceShown_v1", "true");
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """What one picture shows: how to come to it from the backend's address, in a column's data."""

    column: str
    show: Callable[[Page, str, Column], None]


def _trace_id(column: Column, title: str) -> str:
    return hashed(f"{column.name} {title}")


def _phoenix_list(page: Page, address: str, _column: Column) -> None:
    page.goto(f"{address}/projects")
    page.get_by_text("tour", exact=True).first.click()
    page.get_by_role("link", name="Cached tokens").wait_for()
    page.get_by_role("button", name="Hide aside panel").click()
    page.get_by_role("button", name="Collapse side navigation").click()


def _phoenix_trace(page: Page, address: str, column: Column) -> None:
    page.goto(f"{address}/redirects/traces/{_trace_id(column, 'Tools')}")
    page.get_by_text("chat gpt-4o-mini").first.click()
    page.get_by_text("get_weather").first.wait_for()


def _phoenix_session(page: Page, address: str, column: Column) -> None:
    page.goto(f"{address}/redirects/sessions/{quote(column.session)}")
    page.get_by_text("Turn 01").wait_for()


def _phoenix_agent(page: Page, address: str, column: Column) -> None:
    page.goto(f"{address}/redirects/traces/{hashed(trace_id_of(column))}")
    page.get_by_text("execute_tool get_weather").first.click()


def _mlflow_list(page: Page, address: str, _column: Column) -> None:
    page.goto(f"{address}/#/experiments/0/traces")
    page.get_by_text("service.name: tour").first.wait_for(state="attached")


def _mlflow_trace(page: Page, address: str, column: Column) -> None:
    page.goto(f"{address}/#/experiments/0/traces?selectedEvaluationId=tr-{_trace_id(column, 'Tools')}")
    page.get_by_text("chat gpt-4o-mini").first.click()
    page.get_by_text("get_weather").first.wait_for()


def _mlflow_agent(page: Page, address: str, column: Column) -> None:
    page.goto(f"{address}/#/experiments/0/traces?selectedEvaluationId=tr-{hashed(trace_id_of(column))}")
    page.get_by_text("execute_tool get_weather").first.click()


def _agentmesh_list(page: Page, address: str, _column: Column) -> None:
    page.goto(address)
    page.get_by_role("button", name="Traces", exact=True).first.click()
    page.locator("main").get_by_text("Cached tokens").locator("visible=true").first.wait_for()


def _agentmesh_trace(page: Page, address: str, column: Column) -> None:
    _agentmesh_list(page, address, column)
    page.locator("main").get_by_text("Tools", exact=True).locator("visible=true").first.click()
    page.get_by_text("chat gpt-4o-mini").first.click()


def _agentmesh_agent(page: Page, address: str, column: Column) -> None:
    _agentmesh_list(page, address, column)
    page.locator("main").get_by_text("Travel agent").locator("visible=true").first.click()
    page.get_by_text("execute_tool get_weather").first.click()


SCENES = {
    "phoenix-traces.png": Scene("Phoenix", _phoenix_list),
    "phoenix-trace.png": Scene("Phoenix", _phoenix_trace),
    "phoenix-agent.png": Scene("Phoenix", _phoenix_agent),
    "phoenix-session.png": Scene("Phoenix", _phoenix_session),
    "mlflow-traces.png": Scene("MLflow", _mlflow_list),
    "mlflow-trace.png": Scene("MLflow", _mlflow_trace),
    "mlflow-agent.png": Scene("MLflow", _mlflow_agent),
    "agentmesh-traces.png": Scene("agentmesh", _agentmesh_list),
    "agentmesh-trace.png": Scene("agentmesh", _agentmesh_trace),
    "agentmesh-agent.png": Scene("agentmesh", _agentmesh_agent),
}
assert list(SCENES) == [name for name, _ in PICTURES]


@contextmanager
def _pages(browser: str) -> Iterator[Callable[[], Page]]:
    """Give what opens a page of its own, as for somebody who has never been there."""
    with sync_playwright() as playwright:
        # Without a sandbox, which a container's root cannot have; it shows pages of this machine alone.
        running = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])

        def opened() -> Page:
            page = running.new_page(viewport=_SIZE, color_scheme="light", locale="en-US", timezone_id="UTC")
            page.set_default_timeout(_TIMEOUT_MS)
            page.add_init_script(_NO_GUIDANCE)
            return page

        yield opened
        running.close()


def _small(png: bytes) -> bytes:
    """Return a picture in few colours."""
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    small = io.BytesIO()
    image.save(small, "PNG", optimize=True)
    return small.getvalue()


def take(column: Column, address: str, browser: str, directory: Path) -> None:
    """Take all pictures of a backend that has been sent everything."""
    with _pages(browser) as opened:
        for name, scene in SCENES.items():
            if scene.column != column.name:
                continue
            page = opened()
            scene.show(page, address, column)
            page.wait_for_timeout(_DRAWN_MS)
            picture = _small(page.screenshot())
            page.close()
            if len(picture) > MAX_PICTURE_BYTES:
                raise RuntimeError(f"{name} has {len(picture)} bytes, which is more than {MAX_PICTURE_BYTES}")
            (directory / name).write_bytes(picture)
            print(f"wrote {directory / name}, {len(picture)} bytes")


def main(words: list[str]) -> None:
    """Start each backend, or those named, send to it and take its pictures."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        sys.exit(f"none of {', '.join(_BROWSERS)} is installed")
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for column in COLUMNS:
        if column.name in {scene.column for scene in SCENES.values()} and (not words or column.program in words):
            with TemporaryDirectory() as data, started(column.program, Path(data)) as address:
                send(column, address)
                read(column, address)
                run_agent(column, address)
                take(column, address, browser, DIRECTORY)


if __name__ == "__main__":
    main(sys.argv[1:])
