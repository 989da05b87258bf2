"""A job queue: what a web process begins, a worker process continues, in the same trace.

The queue is two pipes here; with Celery, RQ or a message broker the headers of the job go the same way. Needs the same
environment as reference_page.py.
"""

import json
import subprocess
import sys
from collections.abc import Iterable

from openai import OpenAI

from llm_otel_broadcast import current_trace_fields, flush, instrument, trace_context

MODEL = "openai/gpt-4o-mini"


def ask(question: str) -> str:
    with OpenAI() as client:
        answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": question}])
    return answer.choices[0].message.content or ""


def enqueue(question: str) -> str:
    """Put the trace fields, which are JSON, into the job's headers."""
    return json.dumps({"headers": {"trace": current_trace_fields()}, "question": question}) + "\n"


def work(jobs: Iterable[str]) -> None:
    """Run in the worker: each job's calls hang below the span that was current where it was enqueued."""
    for line in jobs:
        job = json.loads(line)
        with trace_context(**job["headers"]["trace"], span_name="Job"):
            print(ask(job["question"]), flush=True)


def main() -> None:
    with trace_context(trace_name="Report", session_id="session_abc", team="red"):
        outline = ask("Outline a report.")
        jobs = [enqueue(f"Write chapter {number} of: {outline}") for number in (1, 2)]
    worker = [sys.executable, __file__, "worker"]
    done = subprocess.run(worker, input="".join(jobs), capture_output=True, text=True, check=True)
    print(done.stdout, end="")


instrument()
if sys.argv[1:] == ["worker"]:
    work(sys.stdin)
    flush()
else:
    main()
    print("delivered" if flush() else "not delivered")
