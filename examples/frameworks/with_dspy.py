"""DSPy: a prediction, with trace fields. Its engine has to be LiteLLM: DSPy's own one does without the `openai` client.

Needs `pip install dspy`, and the same environment as ../reference_page.py.
"""

import dspy

from llm_otel_broadcast import flush, instrument

instrument()
fields = {"session_id": "session_abc", "trace": {"trace_name": "City question", "environment": "staging"}}
dspy.configure(lm=dspy.LM("openai/gpt-4o-mini", engine="litellm", cache=False, extra_body=fields))
print(dspy.Predict("question -> answer")(question="Which city is the largest of Switzerland?").answer)
print("delivered" if flush() else "not delivered")
