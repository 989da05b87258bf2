"""How the applications of these tests call a model."""

from __future__ import annotations

from typing import Any

import openai

ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]}


class Model:
    """A client of each kind, made at the first call: an asynchronous one belongs to the event loop that it is used in."""

    def __init__(self, base_url: str | None = None) -> None:
        self.base_url = base_url
        self._given: dict[str, Any] = {"api_key": "sk-test", "base_url": base_url, "max_retries": 0}
        self._sync: openai.OpenAI | None = None
        self._asynchronous: openai.AsyncOpenAI | None = None

    def ask(self, **more: Any) -> str:
        if self._sync is None:
            http = openai.DefaultHttpxClient(verify=False)  # loading certificates takes longer than a call
            self._sync = openai.OpenAI(http_client=http, **self._given)
        return self._sync.chat.completions.create(**ASKED, **more).choices[0].message.content or ""

    async def aask(self, **more: Any) -> str:
        if self._asynchronous is None:
            http = openai.DefaultAsyncHttpxClient(verify=False)
            self._asynchronous = openai.AsyncOpenAI(http_client=http, **self._given)
        answer = await self._asynchronous.chat.completions.create(**ASKED, **more)
        return answer.choices[0].message.content or ""

    def close(self) -> None:
        if self._sync is not None:
            self._sync.close()

    async def aclose(self) -> None:
        self.close()
        if self._asynchronous is not None:
            await self._asynchronous.close()
