"""The one error that a wrong setting raises."""

from __future__ import annotations

from collections.abc import Sequence


class ConfigError(ValueError):
    """One or more settings are wrong. The text lists every fault with its field, its value (secrets redacted) and the fix.

    Attributes:
        faults: one line for each fault.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class FileError(ConfigError):
    """The settings file is wrong, and nothing else: several programs share it, so it stops none unless that is asked for."""
