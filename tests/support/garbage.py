"""Collecting garbage for certain."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any


def collect() -> None:
    """Collect all garbage. `gc.collect` alone does nothing while another thread of the program is collecting."""
    here, done = threading.get_ident(), threading.Event()

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "stop" and info["generation"] == 2 and threading.get_ident() == here:
            done.set()

    gc.callbacks.append(note)
    try:
        gc.collect()
        while not done.is_set():
            time.sleep(0.001)
            gc.collect()
    finally:
        gc.callbacks.remove(note)
