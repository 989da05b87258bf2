"""Who answers a call. Imports nothing of ours."""

from __future__ import annotations

from typing import NamedTuple


class Server(NamedTuple):
    """Who answers, and where.

    Attributes:
        provider: its name as the GenAI conventions spell it, the host where that is all that is known; empty: unknown.
        address: the host.
        port: the port.
        is_openrouter: it is OpenRouter itself, not something that speaks as it does.
        vendor: what begins the names of facts that the conventions know of one provider's API only (`openai`);
            `gen_ai` for all others.
    """

    provider: str
    address: str
    port: int | None = None
    is_openrouter: bool = False
    vendor: str = "gen_ai"

    @property
    def is_known(self) -> bool:
        """Whether the provider is known by a name of its own, not by its host only."""
        # Where the host is all that is known, it stands for the provider.
        return self.provider != self.address


UNKNOWN_SERVER = Server(provider="", address="")
