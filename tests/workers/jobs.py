"""A job that calls the model, and what a process does before its first one; for job runners, which import it by name."""

from __future__ import annotations

import os

import openai

import llm_otel_broadcast


def begin() -> None:
    """Instrument, as a program does once; the endpoint comes from the environment."""
    llm_otel_broadcast.instrument()


def job(name: str) -> str:
    with openai.OpenAI(api_key="x", base_url=os.environ["MODEL_URL"], max_retries=0) as client:
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
    return name


def job_anywhere(name: str) -> str:
    """Do the job in a process that has inherited nothing, too."""
    if not llm_otel_broadcast.status().instrumented:
        begin()
    return job(name)


def job_with_flush(name: str) -> str:
    """Do the job in a process that is ended without any code of Python's: what it has recorded is sent first."""
    done = job_anywhere(name)
    llm_otel_broadcast.flush()
    return done
