"""Two destinations, one of them without content.

Needs OPENAI_API_KEY, and FIRST_ENDPOINT and SECOND_ENDPOINT as traces URLs.
"""

import os

from openai import OpenAI

from llm_otel_broadcast import Destination, flush, instrument, status

instrument(
    destinations=[
        Destination(name="everything", endpoint=os.environ["FIRST_ENDPOINT"]),
        Destination(name="private", endpoint=os.environ["SECOND_ENDPOINT"], privacy_mode=True),
    ]
)
with OpenAI() as client:
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "A secret question"}])
print("delivered" if flush() else "not delivered")
for destination in status().destinations:
    print(destination.name, destination.delivered, "delivered")
