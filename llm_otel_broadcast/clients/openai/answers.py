"""What the answers of all operations have in common: who made them, what they cost, how many choices are kept."""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.clients.gateways import note_routing
from llm_otel_broadcast.clients.openai.usage import read_usage, usage_in
from llm_otel_broadcast.clients.reader import Members, text_of
from llm_otel_broadcast.record.generation import Generation

_OPERATIONS_WITHOUT_OUTPUT: Final = frozenset({"embeddings", "moderation"})
"""Operations whose total is that of the input."""


def read_head(record: Generation, members: Members) -> None:
    """Read what every chunk carries: id, model, tier, fingerprint and the provider that a gateway has chosen."""
    # A blank one overwrites nothing: Azure's first chunk has a blank id and model (langfuse#2833, llm#294). One that has been
    # read before is not read again: it comes with every chunk.
    get = members.get
    identity, model, tier = get("id"), get("model"), get("service_tier")
    fingerprint, provider = get("system_fingerprint"), get("provider")
    if identity and identity != record.response_id:
        record.response_id = text_of(identity) or record.response_id
    # The header of Azure's model router names the snapshot that answered, the body only the deployment.
    if record.served_model or (model and model != record.response_model):
        record.response_model = record.served_model or text_of(model) or record.response_model
    if tier and tier != record.response_service_tier:
        record.response_service_tier = text_of(tier) or record.response_service_tier
    if fingerprint and fingerprint != record.system_fingerprint:
        record.system_fingerprint = text_of(fingerprint) or record.system_fingerprint
    if provider and provider != record.serving_provider:
        record.serving_provider = text_of(provider) or record.serving_provider


def read_tail(record: Generation, members: Members) -> None:
    """Read what comes with the last chunk or the whole answer: usage, tier and OpenRouter's routing."""
    usage = usage_in(members)
    if usage is not None:
        record.usage = read_usage(usage, generates=record.operation not in _OPERATIONS_WITHOUT_OUTPUT)
    # The tier of the answer, not of the request, decides the price (litellm#39861).
    record.response_service_tier = text_of(members.get("service_tier")) or record.response_service_tier
    if "openrouter_metadata" in members:
        note_routing(record, members["openrouter_metadata"])
