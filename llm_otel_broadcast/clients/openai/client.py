"""What is asked of an `openai` client itself: who it talks to, with which key and headers, and what belongs to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import ref

from llm_otel_broadcast.clients.reader import NOTHING, ask_for, text_of
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.record.server import Server

_VENDOR: Final = "openai"
_VENDOR_PROVIDERS: Final = frozenset({"openai", "azure.ai.openai"})
"""Providers whose calls carry the conventions' `openai.*` attributes."""
_NO_SERVER: Final = Server(provider="openai", address="", vendor=_VENDOR)
"""Of a resource whose client does not say where it sends its requests: nothing speaks against the client's own default."""

# names as the GenAI conventions list them for `gen_ai.provider.name`; the host itself for all who are not in it
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
# A text: compiled where a client of Amazon's is met.
_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_BEDROCK: Final = r"(.+\.)?bedrock[a-z-]*\.[a-z0-9.-]+\.(amazonaws\.com|amazonaws\.com\.cn|api\.aws)"
"""`bedrock-runtime.REGION.amazonaws.com`, `bedrock-mantle.REGION.api.aws`, and both through a private endpoint.

Other hosts of Amazon's are its customers': load balancers, gateways, machines.
"""
_SCHEMES: Final = ("bearer ", "basic ")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}

# By number, and weak: a client that the program drops goes at once. Not a `WeakKeyDictionary`, which makes a reference at each look.
_servers: Final[dict[int, tuple[ref[Any], Any, Server]]] = {}


def server_of(instance: Any) -> Server:
    """Return the server behind a resource (`client.chat.completions`), by its client's base URL."""
    client = getattr(instance, "_client", None)
    if client is None:
        return _NO_SERVER
    # newer clients compute `base_url` at each look, from this one: it tells whether anything has changed
    mark = getattr(client, "_base_url", None)
    cached = _servers.get(id(client))
    if cached is not None and cached[1] is mark and cached[0]() is client:
        return cached[2]
    url = getattr(client, "base_url", None)
    if url is None:
        return _NO_SERVER
    server = _read(client, url)
    if mark is not None:
        number = id(client)
        # what cannot be referred to weakly is read at each call
        reference = or_else(lambda: ref(client, lambda _: _servers.pop(number, None)), None)
        if reference is not None:
            _servers[number] = (reference, mark, server)
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
    # what the client is says more than its host, which may be a proxy's; openai 3 has `OpenAI(provider=bedrock(...))`
    names += str(getattr(getattr(client, "_provider_runtime", None), "name", "")).title()
    provider = next((provider for part, provider in _BY_CLIENT if part in names), None)
    if provider is None:
        provider = next((provider for domain, provider in _BY_DOMAIN if _is_below(host, domain)), host)
        # these two have one host a region
        if host.endswith("-aiplatform.googleapis.com"):
            provider = "gcp.vertex_ai"
        elif host.endswith(_AMAZON) and re.fullmatch(_BEDROCK, host):
            provider = "aws.bedrock"
    # a host that nobody knows speaks OpenAI's API, and may be a proxy of theirs
    vendor = _VENDOR if provider == host or provider in _VENDOR_PROVIDERS else "gen_ai"
    return Server(provider, host, port, is_openrouter=_is_below(host, "openrouter.ai"), vendor=vendor)


def _is_below(host: str, domain: str) -> bool:
    return host == domain or host.endswith("." + domain)


def key_of(client: Any, headers: Any) -> str | None:
    """Return the key: of the call's own `Authorization` or `api-key` header, else the client's; None while there is none."""
    # headers first: the client lets them win over its own key
    if isinstance(headers, Mapping):
        for name, value in headers.items():
            if isinstance(value, str) and str(name).lower() in ("authorization", "api-key"):
                scheme, _, credentials = value.partition(" ")
                return credentials.strip() if credentials and f"{scheme.lower()} " in _SCHEMES else value
    return text_of(getattr(client, "api_key", None))


def learns_late(client: Any) -> bool:
    """Return whether the client asks somebody for its key at each request: the one it has may be an older one."""
    return getattr(client, "_api_key_provider", None) is not None


def default_headers_of(client: Any) -> Mapping[str, Any]:
    """Return the headers that the client was given for all its requests."""
    # not `default_headers`: it puts the client's own description of itself together at each look
    headers = getattr(client, "_custom_headers", None)
    if headers is None:
        headers = ask_for(client, "default_headers")
    return headers if headers and isinstance(headers, Mapping) else NOTHING


def covering(client: Any) -> Callable[[Any], bool] | None:
    """Return a test for the resources that belong to a client or to a resource of one; None when it is neither.

    A client itself passes the test as well if its resources can: what it requests may be for any of them. Copies that
    `with_options()` or `copy()` make of the client belong to it: they share its HTTP client. The client is not kept alive.
    """
    resource_module = ""
    owner = client
    if not hasattr(client, "base_url"):
        owner = getattr(client, "_client", None)
        resource_module = type(client).__module__
        # of a resource that has others below it (`...chat.chat`) its package
        package, _, name = resource_module.rpartition(".")
        if package.endswith(f".{name}"):
            resource_module = f"{package}."
    transport = getattr(owner, "_client", None)
    if owner is None or transport is None or not hasattr(owner, "base_url"):
        return None
    # `__class__`: of a proxy, the class of what it stands for
    kind, own, shared = owner.__class__, ref(owner), ref(transport)

    def covers(called_on: Any) -> bool:
        called = called_on
        if type(called_on) is not kind:
            called = getattr(called_on, "_client", None)
            if called is None or (resource_module and not type(called_on).__module__.startswith(resource_module)):
                return False
        if called is own():
            return True
        return type(called) is kind and getattr(called, "_client", called) is shared()

    return covers
