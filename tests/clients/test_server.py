"""The base URL tells who answers (`gen_ai.provider.name`) and where (`server.address`, `server.port`)."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from weakref import ref

import openai
import pytest

from llm_otel_broadcast.clients.openai.client import server_of

PROVIDERS = {
    "https://api.openai.com/v1": "openai",
    "https://eu.api.openai.com/v1": "openai",
    "https://openrouter.ai/api/v1": "openrouter",
    "https://eu.openrouter.ai/api/v1": "openrouter",
    "https://api.groq.com/openai/v1": "groq",
    "https://api.deepseek.com": "deepseek",
    "https://api.mistral.ai/v1": "mistral_ai",
    "https://api.x.ai/v1": "x_ai",
    "https://api.perplexity.ai": "perplexity",
    "https://generativelanguage.googleapis.com/v1beta/openai/": "gcp.gemini",
    "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi": "gcp.vertex_ai",
    "https://api.anthropic.com/v1/": "anthropic",
    "https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1": "aws.bedrock",
    "https://bedrock-mantle.us-east-1.api.aws/openai/v1": "aws.bedrock",
    "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com/openai/v1": "aws.bedrock",
    "https://ec2-1-2-3-4.compute.amazonaws.com/v1": "ec2-1-2-3-4.compute.amazonaws.com",
    "https://bedrock.example.com/v1": "bedrock.example.com",
    "https://name.openai.azure.com/openai/v1/": "azure.ai.openai",
    "https://api.moonshot.ai/v1": "moonshot_ai",
    "https://openrouter.ai.evil.example/v1": "openrouter.ai.evil.example",
    "https://notopenai.com/v1": "notopenai.com",
    "http://localhost:11434/v1": "localhost",
}


@pytest.mark.parametrize(("url", "provider"), PROVIDERS.items())
def test_the_provider_is_told_by_the_host(url, provider):
    with openai.OpenAI(api_key="x", base_url=url) as client:
        assert server_of(client.chat.completions).provider == provider


@pytest.mark.parametrize(
    ("url", "address", "port"),
    [
        ("https://api.groq.com/openai/v1", "api.groq.com", 443),
        ("http://localhost:11434/v1", "localhost", 11434),
        ("http://intranet/v1", "intranet", 80),
        ("http://[::1]:8080/v1", "::1", 8080),
    ],
)
def test_address_and_port_are_the_urls(url, address, port):
    with openai.OpenAI(api_key="x", base_url=url) as client:
        server = server_of(client.chat.completions)
        assert (server.address, server.port) == (address, port)


def test_only_openrouters_own_hosts_are_openrouter():
    with openai.OpenAI(api_key="x", base_url="https://openrouter.ai.evil.example/v1") as client:
        assert not server_of(client.chat.completions).is_openrouter


def test_a_base_url_that_changes_is_seen():
    with openai.OpenAI(api_key="x", base_url="https://api.groq.com/openai/v1") as client:
        assert server_of(client.chat.completions).provider == "groq"
        client.base_url = "https://api.deepseek.com/v1"
        assert server_of(client.chat.completions).provider == "deepseek"


def test_azures_client_is_azure_at_any_host():
    with openai.AzureOpenAI(api_key="x", api_version="1", azure_endpoint="http://gateway.example") as client:
        assert server_of(client.chat.completions).provider == "azure.ai.openai"


@pytest.mark.skipif(not hasattr(openai, "BedrockOpenAI"), reason="the installed client has none for Bedrock")
@pytest.mark.parametrize("base_url", [None, "http://gateway.example/v1"])
def test_bedrocks_client_is_bedrock_at_any_host(base_url):
    with openai.BedrockOpenAI(api_key="x", aws_region="us-east-1", base_url=base_url) as client:
        assert server_of(client.chat.completions).provider == "aws.bedrock"


@pytest.mark.parametrize("base_url", [None, "http://gateway.example/v1"])
def test_a_client_that_is_set_up_for_bedrock_is_bedrock_at_any_host(base_url):
    providers = pytest.importorskip("openai.providers.bedrock", reason="the installed client has no providers")
    provider = providers.bedrock(api_key="x", region="us-east-1", base_url=base_url)
    with openai.OpenAI(provider=provider) as client:
        assert server_of(client.chat.completions).provider == "aws.bedrock"


def test_a_client_that_is_dropped_is_not_remembered():
    client = openai.OpenAI(api_key="x")
    server_of(client.chat.completions)
    dropped = ref(client)
    client.close()
    del client
    gc.collect()
    assert dropped() is None


def test_a_client_that_cannot_be_referred_to_weakly_has_a_server():
    class Slotted:
        __slots__ = ("_base_url", "base_url")

    client = Slotted()
    client._base_url = client.base_url = SimpleNamespace(scheme="https", host="api.groq.com", port=None)
    assert server_of(SimpleNamespace(_client=client)).provider == "groq"
