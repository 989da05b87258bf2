"""Under which identity the bodies of a destination wait.

Whoever sends them later must be allowed to: a destination of the same name and address with another key is another team's, perhaps. So
the headers are part of the identity, as a hash that is slow to make, with a salt of the spool's own: none can be guessed from the disk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

# OWASP's password storage cheat sheet names 600,000 for PBKDF2 with SHA-256 and a login; keys are longer than passwords, and this
# is computed once for each destination of a process, in the background.
_ITERATIONS: Final = 100_000
_SEPARATOR: Final = "."


def identity_of(name: str, endpoint: str, shown_endpoint: str, headers: Mapping[str, str], salt: bytes) -> str:
    """Return the identity: a part that is equal for equal names and addresses, and one that secrets change as well.

    Args:
        name: of the destination.
        endpoint: its URL.
        shown_endpoint: the same without secrets.
        headers: of its requests.
        salt: of the spool.
    """
    secret = json.dumps([name, endpoint, sorted((key.lower(), value) for key, value in headers.items())])
    slow_hash = hashlib.pbkdf2_hmac("sha256", secret.encode("utf-8", "replace"), salt, _ITERATIONS)
    address = hashlib.sha256(json.dumps([name, shown_endpoint]).encode("utf-8", "replace"))
    return f"{address.hexdigest()[:16]}{_SEPARATOR}{slow_hash.hex()[:32]}"


def is_same_address(identity: str, other: str) -> bool:
    """Return whether two identities are those of one name and address."""
    return identity.partition(_SEPARATOR)[0] == other.partition(_SEPARATOR)[0]
