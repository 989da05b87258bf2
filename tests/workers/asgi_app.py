"""What the ASGI servers of these tests serve: one call for each request, and no flush anywhere."""

from __future__ import annotations

import asyncio

from tests.workers.jobs import begin, job

begin()


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    if scope["path"] != "/ready":
        await asyncio.to_thread(job, scope["path"].strip("/"))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
