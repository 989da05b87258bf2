"""A client that believes it talks to OpenRouter, and what is sent of its calls in the dialect of that name."""

from __future__ import annotations

import openai
import pytest

from tests.dialects.openrouter_calls import ASKED, MODEL


@pytest.fixture
def openrouter(url_at):
    http = openai.DefaultHttpxClient(verify=False)
    with openai.OpenAI(api_key="x", base_url=url_at("openrouter.ai"), max_retries=0, http_client=http) as client:
        yield client


@pytest.fixture
def sent(openrouter, stand_in, receiver, instrumented, arrived):
    """Call `chat.completions.create` at OpenRouter, and return the spans that are sent of it."""

    def run(answer=None, *, options=None, settings=None, **arguments):
        instrumented(dialect="openrouter", **(settings or {}), **(options or {}))
        if answer is not None:
            stand_in.script(answer)
        try:
            outcome = openrouter.chat.completions.create(**{"model": MODEL, "messages": ASKED, **arguments})
            list(outcome if arguments.get("stream") else ())
        except openai.OpenAIError:
            pass
        return arrived()

    return run
