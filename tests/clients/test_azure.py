"""Azure's clients: their own paths, their own provider name."""

from __future__ import annotations

import asyncio

import openai
import pytest

from tests.support.client_calls import MESSAGES

SETTINGS = {"api_key": "key-test", "api_version": "2024-10-21", "max_retries": 0}
ASKED = {"model": "my-deployment", "messages": MESSAGES}


def call_sync(url: str, **more: object) -> None:
    with openai.AzureOpenAI(azure_endpoint=url, **SETTINGS) as client:
        result = client.chat.completions.create(**ASKED, **more)
        if more.get("stream"):
            list(result)


def call_async(url: str, **more: object) -> None:
    async def call() -> None:
        async with openai.AsyncAzureOpenAI(azure_endpoint=url, **SETTINGS) as client:
            result = await client.chat.completions.create(**ASKED, **more)
            if more.get("stream"):
                async for _ in result:
                    pass

    asyncio.run(call())


@pytest.mark.parametrize("call", [call_sync, call_async])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_is_one_span_of_azures_provider(stand_in, instrumented, arrived, call, streamed):
    instrumented()
    call(stand_in.url, stream=streamed)
    (span,) = arrived(1)
    assert span.attributes["gen_ai.provider.name"] == "azure.ai.openai"
    assert span.attributes["gen_ai.request.model"] == "my-deployment"
    assert span.attributes["gen_ai.response.model"] == "my-deployment"
    assert stand_in.requests[0].path == "/openai/deployments/my-deployment/chat/completions"


def test_the_trace_fields_do_not_reach_azure(stand_in, instrumented, arrived):
    instrumented()
    call_sync(stand_in.url, extra_body={"trace": {"trace_name": "Root"}, "session_id": "s"})
    assert stand_in.requests[0].json.keys() == {"model", "messages"}
    assert {span.attributes["session.id"] for span in arrived(2)} == {"s"}
