"""Who a client talks to, told from its base URL (GenAI conventions, `gen_ai.provider.name`)."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from llm_otel_broadcast.record.server import UNKNOWN_SERVER, Server

_VENDOR: Final = "openai"
_VENDOR_PROVIDERS: Final = frozenset({"openai", "azure.ai.openai"})
"""Providers whose calls carry the conventions' `openai.*` attributes."""
_BY_DOMAIN: Final = (
    ("openrouter.ai", "openrouter"),
    ("openai.azure.com", "azure.ai.openai"),
    ("cognitiveservices.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.openai"),
    ("openai.com", "openai"),
    ("groq.com", "groq"),
    ("deepseek.com", "deepseek"),
    ("mistral.ai", "mistral_ai"),
    ("x.ai", "x_ai"),
    ("perplexity.ai", "perplexity"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("anthropic.com", "anthropic"),
    ("cohere.ai", "cohere"),
    ("cohere.com", "cohere"),
    ("moonshot.ai", "moonshot_ai"),
    ("moonshot.cn", "moonshot_ai"),
)
_BY_CLIENT: Final = (("Azure", "azure.ai.openai"), ("Bedrock", "aws.bedrock"))
"""Clients of one provider, whatever host they are sent to, by a part of the class's name or the name of what it is set up with."""
_BEDROCK: Final = re.compile(r"(.+\.)?bedrock[a-z-]*\.[a-z0-9.-]+\.(amazonaws\.com|amazonaws\.com\.cn|api\.aws)")
"""`bedrock-runtime.REGION.amazonaws.com`, `bedrock-mantle.REGION.api.aws`, and both through a private endpoint.

Other hosts of Amazon's are its customers': load balancers, gateways, machines.
"""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_known: WeakKeyDictionary[Any, tuple[Any, Server]] = WeakKeyDictionary()


def server_of(resource: Any) -> Server:
    """Return the server behind a resource of the client (`client.chat.completions`)."""
    client = getattr(resource, "_client", None)
    if client is None:
        return UNKNOWN_SERVER
    # newer clients compute `base_url` at each look, from this one: it tells whether anything has changed
    mark = getattr(client, "_base_url", None)
    if type(client).__hash__ is None:  # a client of the host's own making, compared by its members
        return _read(client, client.base_url)
    known = _known.get(client)
    if known is not None and mark is not None and known[0] is mark:
        return known[1]
    url = getattr(client, "base_url", None)
    if url is None:
        return UNKNOWN_SERVER
    server = _read(client, url)
    _known[client] = (mark, server)
    return server


def socket_server_of(resource: Any) -> Server | None:
    """Return the server that a client's web sockets go to, None if it is the same as for all else."""
    client = getattr(resource, "_client", None)
    url = getattr(client, "websocket_base_url", None)
    return None if url is None else _read(client, _Url(str(url)))


class _Url:
    """A URL that may be given as text, with the members that a client's own have."""

    def __init__(self, text: str) -> None:
        parts = urlsplit(text)
        self.scheme, self.host, self.port = parts.scheme, parts.hostname, parts.port


def _read(client: Any, url: Any) -> Server:
    host = str(getattr(url, "host", "") or "")
    port = getattr(url, "port", None) or _DEFAULT_PORTS.get(str(getattr(url, "scheme", "")))
    names = "".join(kind.__name__ for kind in type(client).__mro__)
    # openai 3: `OpenAI(provider=bedrock(...))`
    names += str(getattr(getattr(client, "_provider_runtime", None), "name", "")).title()
    provider = next((provider for part, provider in _BY_CLIENT if part in names), None) or _provider_of(host)
    # A host that nobody knows speaks OpenAI's API, and may be a proxy of theirs.
    vendor = _VENDOR if provider == host or provider in _VENDOR_PROVIDERS else "gen_ai"
    return Server(provider, host, port, is_openrouter=_is_below(host, "openrouter.ai"), vendor=vendor)


def _provider_of(host: str) -> str:
    if host.endswith("-aiplatform.googleapis.com"):  # one host a region
        return "gcp.vertex_ai"
    if _BEDROCK.fullmatch(host):
        return "aws.bedrock"
    for domain, provider in _BY_DOMAIN:
        if _is_below(host, domain):
            return provider
    return host


def _is_below(host: str, domain: str) -> bool:
    return host == domain or host.endswith("." + domain)
