"""A Flask application: each request that calls a model is one trace, called by its route, with session and user.

Serve it (`pip install flask gunicorn`) and talk to it:

    gunicorn --chdir examples --threads 4 flask_app:app
    curl -X POST -H "x-session-id: session_abc" -H "x-user: ada" "http://127.0.0.1:8000/chats/7?question=Hello"

Run as a program it does both. Needs the same environment as reference_page.py.
"""

import threading
from collections.abc import Iterator
from urllib.request import Request, urlopen

from flask import Flask, Response, request
from openai import OpenAI
from werkzeug.serving import make_server

from llm_otel_broadcast import flush, instrument
from llm_otel_broadcast.middleware.wsgi import TraceMiddleware

instrument(request_stream_usage=True)
client = OpenAI()
app = Flask(__name__)
app.wsgi_app = TraceMiddleware(  # type: ignore[method-assign]
    app.wsgi_app,
    user=lambda environ: environ.get("HTTP_X_USER"),
    metadata=lambda environ: {"environment": "staging", "client": environ["REMOTE_ADDR"]},
)


@app.post("/chats/<int:chat>")
def chat(chat: int) -> Response:
    question = request.args["question"]

    def answer() -> Iterator[str]:
        stream = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": question}],
            stream=True,
            extra_body={"trace": {"chat": chat}},
        )
        for chunk in stream:
            for choice in chunk.choices:
                yield choice.delta.content or ""

    return Response(answer(), mimetype="text/plain")


def main() -> None:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    headers = {"x-session-id": "session_abc", "x-user": "ada"}
    url = f"http://127.0.0.1:{server.server_port}/chats/7?question=Hello"
    with urlopen(Request(url, method="POST", headers=headers)) as answer:
        print(answer.read().decode())
    server.shutdown()
    serving.join()
    server.server_close()
    client.close()
    print("delivered" if flush() else "not delivered")


if __name__ == "__main__":
    main()
