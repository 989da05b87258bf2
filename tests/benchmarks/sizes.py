"""What a generation weighs on the wire, and how many one process sends in a second: `python -m tests.benchmarks.sizes`.

The calls of the demo, and conversations of 20 messages of 800 characters, made with the real client and encoded by the
real lanes. Sizes hardly vary from run to run; rates do, and the receiver shares the process with the calls.
"""

from __future__ import annotations

import gzip
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import openai

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.cli import demonstration
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.receiver.decoding import decode_json, decode_protobuf
from tests.support.stand_in.server import StandIn

CONVERSATIONS = 20
BURST = 3_000
_KINDS = [(encoding, private) for encoding in ("json", "protobuf") for private in (False, True)]


@dataclass(frozen=True, slots=True)
class Weight:
    """Bytes for each generation, its spans and its share of the request included."""

    plain: int
    gzipped: int
    spans: float


def weigh(calls: Callable[[StandIn], object]) -> dict[tuple[str, bool], Weight]:
    """Return the weight of each encoding, with content and (True) without."""
    receivers = {kind: OtlpReceiver() for kind in _KINDS}
    for receiver in receivers.values():
        receiver.start()
    try:
        with (
            StandIn() as stand_in,
            llm_otel_broadcast.instrument(
                destinations=[
                    Destination(
                        name=f"{encoding} {private}",
                        endpoint=receiver.endpoint,
                        encoding=encoding,
                        privacy_mode=private,
                    )
                    for (encoding, private), receiver in receivers.items()
                ],
                service_name="shop",
                app_spans=False,
            ) as handle,
        ):
            calls(stand_in)
            assert handle.flush(30), handle.status()
        return {kind: _weight(kind[0], receiver) for kind, receiver in receivers.items()}
    finally:
        for receiver in receivers.values():
            receiver.stop()


def _weight(encoding: str, receiver: OtlpReceiver) -> Weight:
    bodies = [request.body for request in receiver.requests]
    decode = decode_json if encoding == "json" else decode_protobuf
    spans = [span for body in bodies for span in decode(body)]
    generations = sum("gen_ai.operation.name" in span.attributes for span in spans)
    plain, zipped = (sum(map(len, each)) for each in (bodies, [gzip.compress(body, 6, mtime=0) for body in bodies]))
    return Weight(round(plain / generations), round(zipped / generations), len(spans) / generations)


def demo_calls(stand_in: StandIn) -> None:
    demonstration._make_calls(stand_in)


def conversations(stand_in: StandIn) -> None:
    """Make calls with 16,000 characters each: about 4,000 tokens."""
    with openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url, max_retries=0) as client:
        for number in range(CONVERSATIONS):
            client.chat.completions.create(
                model="openai/gpt-4o",
                messages=list(_messages(random.Random(number))),
                user=f"user_{number}",
                extra_body={
                    "session_id": f"session_{number}",
                    "trace": {
                        "trace_name": "Chat Handler",
                        "generation_name": "Generate Response",
                        "environment": "staging",
                    },
                },
            )


def _messages(chance: random.Random) -> Iterator[dict[str, str]]:
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(2_000)]
    for number in range(20):
        text = " ".join(chance.choices(words, k=200))[:800]
        yield {"role": "assistant" if number % 2 else "user", "content": text}


def rate() -> float:
    """Return the generations a second that one process calls and delivers, as fast as it can, content on."""
    from tests.benchmarks.host import chat, client

    made = client()
    with (
        OtlpReceiver() as receiver,
        llm_otel_broadcast.instrument(endpoint=receiver.endpoint, app_spans=False) as handle,
    ):
        chat(made)
        started = time.perf_counter()
        for _ in range(BURST):
            chat(made)
        handle.flush(60)
        taken = time.perf_counter() - started
        (books,) = handle.status().destinations
        assert not books.dropped
        assert books.delivered == BURST + 1
    return BURST / taken


def main() -> None:
    for name, calls in (("demo", demo_calls), ("4,000 tokens", conversations)):
        for (encoding, private), found in weigh(calls).items():
            content = "without content" if private else "with content"
            print(
                f"{name}, {encoding}, {content}: {found.plain:,} bytes, gzip {found.gzipped:,}, {found.spans:.2f} spans"
            )
    print(f"one process: {rate():,.0f} generations/s")


if __name__ == "__main__":
    main()
