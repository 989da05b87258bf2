"""The lock that keeps forks and the imports of our threads apart.

A child that was forked while another thread imported a module waits for ever once it imports that module itself: the lock of
the module is held by a thread that does not exist there. So our threads import under `importing`, and a fork waits for that.
OpenSSL is alike: it has locks while it looks its algorithms up for the first time.
"""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.host.fork_lock import ForkLock

# Importing the price list takes a second on a usual machine, many on one that is starved; whoever forks while it is imported
# has a child that waits for ever. No import of ours waits for anything but the disk.
_WAIT_FOR_IMPORTS_S: Final = 30.0

importing: Final = ForkLock(_WAIT_FOR_IMPORTS_S)
