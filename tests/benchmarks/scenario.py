"""Calls under callgrind: `python -m tests.benchmarks.scenario MODE:WORK=CALLS...`, each counted by itself, after a warm-up.

Records go to a destination that swallows them on a thread that is counted apart. What a mode switches on stays on.
"""

from __future__ import annotations

import gc
import os
import re
import sys

from tests.benchmarks.control import control
from tests.benchmarks.host import WORK, client
from tests.benchmarks.modes import MODES

_WARM_UP_CALLS = 12
_WARM_UP_OF_LARGE = 2
_LARGE = ("stream", "chat_long", "chat_tools")


def main(counted: list[str]) -> None:
    made = client()
    for text in counted:
        mode, name, calls = re.split("[:=]", text)
        work = MODES[mode](WORK[name], name)
        for _ in range(_WARM_UP_OF_LARGE if name in _LARGE else _WARM_UP_CALLS):
            work(made)
        # A collection would fall on whichever call is under way, and take as long as all that the client holds.
        gc.collect()
        gc.disable()
        control("--instr=on")
        for _ in range(int(calls)):
            work(made)
        control("--instr=off")
        control(f"--dump={mode}:{name}")
        gc.enable()
    # Not the usual end: nothing is to be delivered.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
