"""Whether an answer came from a machine of the caller's own, whose models have no list price. Looked at in the background only."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final

from llm_otel_broadcast.record.generation import Generation

_LOCAL_NAMES: Final = frozenset({"localhost", "host.docker.internal", "host.containers.internal"})
_LOCAL_DOMAINS: Final = (
    # RFC 6761 and 6762, RFC 8375, and the name that ICANN keeps for private use
    ".localhost",
    ".local",
    ".home.arpa",
    ".internal",
    # what routers and companies use besides
    ".lan",
    ".home",
    ".corp",
    ".intranet",
    # Kubernetes within a cluster, Tailscale
    ".svc",
    ".ts.net",
)
_LOCAL_ENGINES: Final = frozenset(
    {
        "ollama",
        "lmstudio",
        "lm_studio",
        "llama.cpp",
        "llama_cpp",
        "llamafile",
        "localai",
        "vllm",
        "sglang",
        "mlx",
        "local",
    }
)
"""Providers, as a program that reports its own generations may name them."""
_ENGINE_FINGERPRINT: Final = re.compile(
    # Ollama; vLLM from 0.24 on (`vllm-0.24.0-tp4`); llama.cpp (`b6123-79c1160b`); Hugging Face's text-generation-inference
    # (`3.3.4-sha-9f38d93`, `3.0.1-native`); mlx-lm (its version and the operating system)
    r"fp_ollama|vllm-.*|b\d{3,6}-[0-9a-f]{6,}|\d+\.\d+\.\d+\S*-(sha-[0-9a-f]+|native)|\d+\.\d+\.\d+-.*(macOS|Linux|Windows).*"
)
_HOSTED_FINGERPRINT: Final = re.compile(r"fp_[0-9a-f]{8,}(_\w+)?")
"""OpenAI, Azure, Groq, xAI, DeepSeek."""
_HOSTED_TIERS: Final = frozenset({"default", "flex", "priority", "scale", "standard"})
_SNAPSHOT: Final = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})")


def is_self_hosted(record: Generation) -> bool:
    """Return whether the model that answered seems to run on a machine of the caller's own.

    At an address of the caller's own network it does, unless the answer bears a mark of a hosted API: a gateway such as
    LiteLLM's proxy hands those on. Its own name is none: it forwards to local models too.
    """
    server = record.server
    if server.is_known and server.provider.lower() not in _LOCAL_ENGINES:
        return False
    # Some engines say in the answer that they made it; LM Studio gives the model's name as its fingerprint.
    fingerprint = record.system_fingerprint
    is_own_name = fingerprint is not None and fingerprint == record.response_model
    if server.provider.lower() in _LOCAL_ENGINES or is_own_name or _ENGINE_FINGERPRINT.fullmatch(fingerprint or ""):
        return True
    if not is_local(server.address):
        return False
    # Marks of a hosted API: a fingerprint of theirs, or a service tier (in chat completions: Ollama and vLLM copy the member
    # of the responses API).
    if _HOSTED_FINGERPRINT.fullmatch(fingerprint or ""):
        return False
    if record.api != "responses" and record.response_service_tier in _HOSTED_TIERS:
        return False
    # Or the dated snapshot of the model that was asked for: a local server repeats the name that it was given.
    requested = (record.request_model or "").rpartition("/")[2]
    answered = (record.response_model or "").rpartition("/")[2]
    is_dated = _SNAPSHOT.fullmatch(answered.removeprefix(requested)) is not None
    return not (requested and answered.startswith(requested) and is_dated)


@lru_cache(maxsize=1_024)
def is_local(address: str) -> bool:
    """Return whether a host is the caller's own machine or network: by address, by domain, or a name without any dot."""
    host = address.lower().rstrip(".")
    try:
        number = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return bool(host) and (host in _LOCAL_NAMES or host.endswith(_LOCAL_DOMAINS) or "." not in host)
    return not number.is_global
