"""The lock that keeps forks and the imports of our threads apart.

A child that was forked while another thread imported a module waits for ever once it imports that module itself: the lock of
the module is held by a thread that does not exist there. So our threads import under `importing`, and a fork waits for that.
OpenSSL is alike: it has locks while it looks its algorithms up for the first time.
"""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.host.fork_lock import ForkLock

_WAIT_FOR_IMPORTS_S: Final = 5.0

importing: Final = ForkLock(_WAIT_FOR_IMPORTS_S)
