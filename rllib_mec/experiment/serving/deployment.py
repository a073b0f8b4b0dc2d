"""The deployment of Ray Serve: a process that answers requests, deciding for many at once."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from rllib_mec.orchestrator.front import Front, Limits
from rllib_mec.orchestrator.orchestrator import Orchestrator

MOST_STATES = 64
"""That are decided at once."""


class Served:
    """Answers the requests to one exported policy.

    Args:
        files: of the exported directory, by name; they travel, so that any node can serve.
        limits: what is taken. token: see :class:`~rllib_mec.orchestrator.front.Front`.
    """

    def __init__(self, files: Mapping[str, bytes], limits: Limits, token: str | None) -> None:
        with tempfile.TemporaryDirectory(prefix="mec-serve-") as directory:
            for name, data in files.items():
                Path(directory, name).write_bytes(data)
            self._orchestrator = Orchestrator(directory)
        # Decisions take milliseconds, in which others are let in and gather for the next batch.
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._front = Front(self._orchestrator, self._decide, limits, token)

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request of ASGI."""
        request = Request(scope, receive)
        answer = await self._front.answer(
            request.method, scope["path"], request.headers, request.stream()
        )
        response = Response(answer.body, answer.status, answer.headers, answer.media_type)
        await response(scope, receive, send)

    @serve.batch(max_batch_size=MOST_STATES, batch_wait_timeout_s=0.0)
    async def _decide(self, states: list[Any]) -> list[dict[str, Any]]:
        """Decides all states that have come while the last ones were decided."""
        self._front.metrics.batches.add(len(states))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._orchestrator.decide_checked, states)


def _asgi() -> ASGIApp:
    """Returns what Serve hands requests to: all of HTTP, and nothing else.

    Without it Serve would answer what is no plain request, such as one for a web socket, with an
    error of its own.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await serve.get_replica_context().servable_object.respond(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # the client reads 403
        else:
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})

    return app


def application(files: Mapping[str, bytes], limits: Limits, token: str | None) -> Any:
    """Returns the application that ``serve.run`` takes."""
    deployment = serve.deployment(serve.ingress(_asgi)(Served)).options(
        name="orchestrator",
        num_replicas=1,
        # Those that wait are counted in the front, which refuses with a status of its own.
        max_ongoing_requests=limits.in_flight * 4,
        ray_actor_options={"num_cpus": 1},
    )
    return deployment.bind(files, limits, token)
