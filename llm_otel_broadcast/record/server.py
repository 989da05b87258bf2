"""Who answers a call. Imports nothing of ours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Server:
    """Who answers: provider name as the GenAI conventions spell it, and where."""

    provider: str
    address: str
    port: int | None = None
    is_openrouter: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the provider is known by a name of its own, not by its host only."""
        return self.provider != self.address


UNKNOWN_SERVER = Server(provider="openai", address="")
