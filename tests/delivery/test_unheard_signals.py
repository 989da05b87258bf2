"""A SIGTERM that the main thread of a pool's process does not hear, as it came an instant before that began to wait."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# A signal that is sent to another thread leaves the main thread in its wait, exactly as one that came too early for it.
PROGRAM = """
import multiprocessing, signal, sys, threading, time
import openai, llm_otel_broadcast

endpoint, base_url, method = sys.argv[1:]


def signal_elsewhere():
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    time.sleep(60)


def work(endpoint, base_url):
    if not llm_otel_broadcast.status().instrumented:
        llm_otel_broadcast.instrument(endpoint=endpoint, exit_timeout=20)
    with openai.OpenAI(api_key="x", base_url=base_url) as client:
        client.chat.completions.create(model="last", messages=[{"role": "user", "content": "Hi"}])
    threading.Thread(target=signal_elsewhere, daemon=True).start()
    multiprocessing.SimpleQueue().get()


if __name__ == "__main__":
    context = multiprocessing.get_context(method)
    if method == "fork":
        llm_otel_broadcast.instrument(endpoint=endpoint, exit_timeout=20)
    process = context.Process(target=work, args=(endpoint, base_url))
    process.start()
    process.join(40)
    print(process.exitcode)
    process.kill()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_ends_the_process_after_delivery(tmp_path, receiver, stand_in, method):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(path), receiver.endpoint, stand_in.base_url, method],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("-15", "")
    assert [span.name for span in receiver.store.spans()] == ["chat last"]
