"""A Flask service: each request that asks a model is a trace named after its route.

    gunicorn --chdir examples/web flask_app:app

Needs the same environment as reference_page.py. Then: curl -H 'x-session-id: session_abc' 'localhost:8000/answers/42?question=Hello'
"""

from flask import Flask, g, request
from openai import OpenAI

from llm_otel_broadcast import instrument
from llm_otel_broadcast.middleware.wsgi import TraceMiddleware

instrument()
app = Flask(__name__)
app.wsgi_app = TraceMiddleware(app.wsgi_app, user=lambda _environ: g.user_id)  # asked when the first call happens
client = OpenAI()


@app.get("/answers/<user_id>")
def answers(user_id: str) -> str:
    g.user_id = user_id
    messages = [{"role": "user", "content": request.args["question"]}]
    answer = client.chat.completions.create(model="openai/gpt-4o-mini", messages=messages)
    return answer.choices[0].message.content or ""
