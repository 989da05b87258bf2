"""Providers and systems by the values that OpenInference knows: `llm.provider` is who runs a model, `llm.system` whose API it is."""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.record.server import Server

# From the GenAI conventions' names of providers, which our records have.
_PROVIDERS: Final = {
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistralai",
    "moonshot_ai": "moonshot",
    "x_ai": "xai",
}
_SYSTEMS: Final = {
    "azure.ai.inference": "openai",
    "azure.ai.openai": "openai",
    "gcp.gemini": "vertexai",
    "gcp.gen_ai": "vertexai",
    "gcp.vertex_ai": "vertexai",
}
"""Where the API is not its provider's own; the values are OpenInferenceLLMSystemValues."""
_AUTHORS: Final = {"google": "vertexai", "meta-llama": "meta", "x-ai": "xai"}
"""Of OpenRouter's models: what stands before the slash."""
_SERVING_PROVIDERS: Final = {
    "amazon bedrock": "aws",
    "google ai studio": "google",
    "mistral": "mistralai",
    "moonshot ai": "moonshot",
    "z.ai": "zai",
}
"""OpenRouter's names of who serves a model, in lower case."""


def provider_of(server: Server, serving_provider: str | None) -> str | None:
    """Return who runs the model: behind a gateway the provider that served it, where the response says so."""
    if serving_provider:
        name = serving_provider.lower()
        return _SERVING_PROVIDERS.get(name, name)
    return _PROVIDERS.get(server.provider, server.provider) or None


def system_of(server: Server, model: str | None) -> str | None:
    """Return whose API it is; for OpenRouter the author of the model. None where only the host is known."""
    if server.is_openrouter and model and "/" in model:
        author = model.partition("/")[0].lower()
        return _AUTHORS.get(author, author)
    if not server.provider or not server.is_known:
        return None
    return _SYSTEMS.get(server.provider) or _PROVIDERS.get(server.provider, server.provider)
