"""What of the content no destination may have, and dropping it while a call is under way: on the program's thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.privacy import PARTS

SYSTEM_ROLES: Final = frozenset({"system", "developer"})


def is_system(role: object) -> bool:
    """Return whether a message of this role is an instruction, whatever the caller has given as one."""
    return isinstance(role, str) and role in SYSTEM_ROLES


def narrow(record: Generation) -> None:
    """Drop what is unwanted in a record: it is not referenced any longer."""
    unwanted = record.unwanted
    if "inputs" in unwanted or ("embeddings" in unwanted and record.operation == "embeddings"):
        record.messages = record.instructions = None
    elif "system" in unwanted:
        record.instructions = None
        # None yet where they pass by later, one by one (realtime): those are left out in the background.
        if record.messages:
            record.messages = [
                message
                for message in record.messages
                if not is_system(
                    message.get("role") if isinstance(message, Mapping) else getattr(message, "role", None)
                )
            ]
    if "tools" in unwanted:
        record.tools = None
    if "outputs" in unwanted:
        record.choices = [choice.without_texts() for choice in record.choices]


def unwanted_by_all(destinations: Sequence[Destination], rule_fields: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the parts that no destination may have.

    Args:
        destinations: those that records are sent to.
        rule_fields: the fields that the filter rules of each destination look at, by its name.
    """
    unwanted = frozenset(PARTS)
    for destination in destinations:
        fields = rule_fields.get(destination.name, frozenset())
        # A rule may look at content that is not sent.
        needed = ({"inputs", "system", "embeddings"} if "input" in fields else set()) | (
            {"outputs", "reasoning"} if "output" in fields else set()
        )
        hidden = frozenset(PARTS) if destination.privacy_mode else frozenset(destination.hide)
        if "inputs" in hidden:
            hidden |= {"system", "embeddings"}
        unwanted &= hidden - needed
    return unwanted
