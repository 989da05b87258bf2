"""A streamed, asynchronous answer with token counts, though the request does not ask for them.

Needs the same environment as reference_page.py.
"""

import asyncio

from openai import AsyncOpenAI

from llm_otel_broadcast import flush, instrument

instrument(request_stream_usage=True, trace_defaults={"trace_name": "Streaming example"})


async def main() -> None:
    async with AsyncOpenAI() as client:
        stream = await client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Count to five."}], stream=True
        )
        async for chunk in stream:
            for choice in chunk.choices:
                print(choice.delta.content or "", end="", flush=True)
    print()


asyncio.run(main())
print("delivered" if flush() else "not delivered")
