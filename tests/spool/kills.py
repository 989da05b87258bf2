"""Measures what a SIGKILL loses and doubles with `durable=True`: `python -m tests.spool.kills --rounds 20`.

Each round kills a program that makes calls at a random moment, then has another process send what lies in the spool, and compares what
arrived with what had returned. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from llm_otel_broadcast.receiver import OtlpReceiver, Reply
from tests.support.deadlines import until
from tests.support.stand_in.server import StandIn

_GRACE_S = 1.0
_WARM_UP_S = 3.0
_TIMEOUT_S = 1.0
_LEASE_S = 2 * _TIMEOUT_S + 10.0
PROGRAM = """
import sys, time, openai, llm_otel_broadcast
endpoint, base_url, spool, prefix, log, timeout = sys.argv[1:]
llm_otel_broadcast.instrument(endpoint=endpoint, spool=spool, durable=True, timeout=float(timeout))
client = openai.OpenAI(api_key="x", base_url=base_url)
with open(log, "w", buffering=1) as returned:
    for number in range(100_000):
        name = f"{prefix}-{number}"
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
        returned.write(f"{time.time()} {name}\\n")
        time.sleep(0.02)
"""


def main(rounds: int, seed: int) -> None:
    """Kill so many processes, and print what that has cost."""
    chance = random.Random(seed)
    figures: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory, StandIn() as model, OtlpReceiver() as receiver:
        spool = Path(directory) / "spool"
        returned: dict[str, float] = {}
        for number in range(rounds):
            # Now and then the server takes its time, so that a request is under way.
            receiver.script(*[Reply(200, delay=chance.choice((0.0, 0.2, 0.5)), store=True) for _ in range(20)])
            log = Path(directory) / f"{number}.log"
            arguments = [receiver.endpoint, model.base_url, str(spool), f"r{number}", str(log), str(_TIMEOUT_S)]
            process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments])
            until(lambda log=log: log.exists() and log.stat().st_size, 60.0)
            time.sleep(_WARM_UP_S + chance.uniform(1.0, 4.0))
            process.send_signal(signal.SIGKILL)
            killed = time.time()
            process.wait()
            for line in log.read_text().splitlines():
                moment, _, name = line.partition(" ")
                returned[name] = killed - float(moment)
        receiver.script()
        send = [sys.executable, "-m", "llm_otel_broadcast", "spool", "send", "--directory", str(spool)]
        time.sleep(_LEASE_S)
        environment = {"LLM_OTEL_BROADCAST_ENDPOINT": receiver.endpoint, "LLM_OTEL_BROADCAST_CONFIG": "/dev/null"}
        subprocess.run(send, env=environment, check=True)
        time.sleep(_GRACE_S)
        arrived = Counter(span.name.removeprefix("chat ") for span in receiver.store.spans())
    figures["rounds"], figures["returned"] = rounds, len(returned)
    figures["lost after a second"] = sum(age > _GRACE_S and not arrived[name] for name, age in returned.items())
    figures["lost in the last second"] = sum(age <= _GRACE_S and not arrived[name] for name, age in returned.items())
    figures["twice"] = sum(count > 1 for count in arrived.values())
    figures["more often"] = sum(count > 2 for count in arrived.values())
    print(json.dumps(figures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    main(arguments.rounds, arguments.seed)
