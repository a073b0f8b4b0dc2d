"""The orchestrator over HTTP, but for the sockets: who may ask, how much, and what is answered.

| request        |                                                                         |
|----------------|-------------------------------------------------------------------------|
| POST /decide   | a state as JSON, see ``/schema``: what each UE is to do                 |
| GET /schema    | JSON schemas of states and decisions                                    |
| GET /health    | whether it is there; needs no token                                     |
| GET /metrics   | counts and latencies, for Prometheus                                    |

Whatever cannot be answered gets a status of 4xx and ``{"error": {"status": …, "message": …}}``:
400 not JSON, 401 no token, 404 and 405 no such path or method, 408 too slow, 413 and 415 a body
that cannot be taken, 422 no valid state (the message names the field, the UE and what was
expected), 429 too many requests (``Retry-After`` says when to come again). What is no HTTP never
comes here: the server refuses it with a 400 of its own. Should a decision fail, that is a 500,
logged and counted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from rllib_mec.errors import InputError
from rllib_mec.orchestrator.metrics import Metrics
from rllib_mec.orchestrator.orchestrator import Orchestrator
from rllib_mec.source import without_twins

METHODS = {"/decide": "POST", "/schema": "GET", "/health": "GET", "/metrics": "GET"}
JSON = "application/json"

_LARGE = 65_536
"""Bytes of a body that takes so long to check that others should not wait for it."""

_MOST_SECONDS = 3600
"""After which to come again."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is taken.

    max_body: bytes of a request. rate: requests per second, of all clients together. body_s:
    seconds for a body to come. in_flight: states that are read or decided at a time.
    """

    max_body: int = 1_048_576
    rate: float = 500.0
    body_s: float = 10.0
    in_flight: int = 512


@dataclasses.dataclass(frozen=True)
class Answer:
    """Status, headers and body of an answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    media_type: str = JSON


class RefusedError(Exception):
    """A request that is not answered as asked."""

    def __init__(self, status: HTTPStatus, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def digest(token: str) -> str:
    """Returns what is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Front:
    """Answers requests.

    Args:
        orchestrator: that checks states. decide: gives the decision of a state that was checked.
        token: :func:`digest` of what clients have to send as ``Authorization: Bearer …``; None: all
            may ask.
        clock: seconds, for tests.

    Attributes:
        metrics: what was counted.
    """

    def __init__(
        self,
        orchestrator: Orchestrator,
        decide: Callable[[Any], Awaitable[dict[str, Any]]],
        limits: Limits,
        token: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._orchestrator, self._decide = orchestrator, decide
        self._limits, self._token, self._clock = limits, token, clock
        self._schema = json.dumps(orchestrator.schema()).encode()
        self._burst = max(limits.rate, 1.0)
        self._allowance, self._counted = self._burst, clock()
        self._waiting = 0
        self.metrics = Metrics()

    async def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: AsyncIterator[bytes]
    ) -> Answer:
        """Returns the answer to a request.

        Args:
            headers: by their names in small letters. body: in pieces, as they come.
        """
        try:
            found = await self._answer(method, path, headers, body)
        except RefusedError as refused:
            found = _error(refused)
        except Exception:  # it must be seen by whoever watches, and must not end the process
            _log.exception("%s %s failed", method, path)
            failed = "the decision failed: the server's log says why"
            found = _error(RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, failed))
        self.metrics.requests[path if path in METHODS else "other", found.status] += 1
        return found

    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: AsyncIterator[bytes]
    ) -> Answer:
        if path not in METHODS:
            raise RefusedError(
                HTTPStatus.NOT_FOUND, f"no such path: expected one of {', '.join(METHODS)}"
            )
        if method != METHODS[path]:
            raise RefusedError(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"{method[:20]} {path}: expected {METHODS[path]}",
                Allow=METHODS[path],
            )
        if path == "/health":
            return Answer(200, b'{"status": "ok"}')
        self._check_token(headers)
        self._check_rate()
        if path == "/schema":
            return Answer(200, self._schema)
        if path == "/metrics":
            text = self.metrics.text().encode()
            return Answer(200, text, media_type="text/plain; version=0.0.4")
        return await self._decided(headers, body)

    async def _decided(self, headers: Mapping[str, str], body: AsyncIterator[bytes]) -> Answer:
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != JSON:
            raise RefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"Content-Type: {media_type[:60]!r}: expected {JSON}",
            )
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding: expected none")
        if self._waiting >= self._limits.in_flight:
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS, "too many requests at a time", Retry_After="1"
            )
        self._waiting += 1
        try:
            data = await self._body(headers, body)
            began = self._clock()
            if len(data) > _LARGE:
                state = await asyncio.to_thread(self._checked, data)
            else:
                state = self._checked(data)
            decision = await self._decide(state)
        finally:
            self._waiting -= 1
        self.metrics.latency.add(self._clock() - began)
        self.metrics.ues += len(decision["ues"])
        return Answer(200, json.dumps(decision).encode())

    def _checked(self, data: bytes) -> dict[str, Any]:
        try:
            return self._orchestrator.check(_parsed(data))
        except InputError as error:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None

    def _check_token(self, headers: Mapping[str, str]) -> None:
        if self._token is None:
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        # compare_digest: how long it takes says nothing about the token.
        right = hmac.compare_digest(digest(given.strip()), self._token)
        if kind.lower() != "bearer" or not right:
            raise RefusedError(
                HTTPStatus.UNAUTHORIZED,
                "expected the header Authorization: Bearer TOKEN, with the server's token",
                WWW_Authenticate="Bearer",
            )

    def _check_rate(self) -> None:
        """A bucket of as many tokens as are allowed in a second, refilled as time goes by."""
        now, rate = self._clock(), self._limits.rate
        self._allowance = min(self._allowance + (now - self._counted) * rate, self._burst)
        self._counted = now
        if self._allowance < 1:
            seconds = min((1 - self._allowance) / rate, _MOST_SECONDS)
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"more than {rate:g} requests per second",
                Retry_After=str(max(1, math.ceil(seconds))),
            )
        self._allowance -= 1

    async def _body(self, headers: Mapping[str, str], body: AsyncIterator[bytes]) -> bytes:
        most = self._limits.max_body
        too_large = RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of more than {most:,} bytes"
        )
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            raise RefusedError(
                HTTPStatus.BAD_REQUEST, f"Content-Length: {length[:60]!r}: expected a whole number"
            )
        if int(length[:20]) > most:
            raise too_large

        async def read() -> bytes:
            data = bytearray()
            async for piece in body:
                data += piece
                if len(data) > most:
                    raise too_large
            return bytes(data)

        try:
            return await asyncio.wait_for(read(), self._limits.body_s)
        except asyncio.TimeoutError:
            raise RefusedError(
                HTTPStatus.REQUEST_TIMEOUT,
                f"no whole body within {self._limits.body_s:g} s",
            ) from None


def _error(refused: RefusedError) -> Answer:
    error = {"status": int(refused.status), "message": refused.message}
    return Answer(int(refused.status), json.dumps({"error": error}).encode(), refused.headers)


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data, object_pairs_hook=without_twins)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {reason}") from None
