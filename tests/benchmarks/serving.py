"""Loads ``rllib serve`` from another process, at a bounded rate, and checks every answer.

    python tests/benchmarks/serving.py DIR --seconds 60 --out tests/benchmarks/results/serving.json

DIR is of ``rllib export``. Without ``--url`` the server is started here, on this machine, and ended
afterwards. Requests are due at even intervals and go over a few connections that are kept; a
latency is from when its request was due to the last byte of the answer, so that a server that falls
behind shows. A share of them is malformed in one of many ways, each of which has its one right
status. Right decisions are those of the exported policy in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from process import machine

from rllib_mec.orchestrator import Orchestrator

STATES = 200
TOLERANCE = 1e-5
TOO_LARGE = 2**21
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Request:
    """What is sent: a method, a path, headers and a body; or bytes as they are.

    statuses: that are right. decision: that is right, for a valid state.
    """

    def __init__(
        self,
        name: str,
        statuses: tuple[int, ...],
        body: bytes = b"",
        method: str = "POST",
        path: str = "/decide",
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
        decision: Any = None,
    ) -> None:
        self.name, self.statuses, self.decision, self.raw = name, statuses, decision, raw
        self.method, self.path, self.body = method, path, body
        self.headers = {"Content-Type": "application/json"} if headers is None else headers

    def bytes(self, host: str, token: str | None) -> bytes:
        if self.raw is not None:
            return self.raw
        headers = {"Host": host, "Content-Length": str(len(self.body)), **self.headers}
        if token is not None and self.name != "no token":
            headers["Authorization"] = f"Bearer {token}"
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def states_of(orchestrator: Orchestrator) -> list[dict[str, Any]]:
    """Returns states of the environment as random actions bring them about."""
    spec = orchestrator.policy.spec
    config, rng = spec.environment["config"], np.random.default_rng(0)
    counts = range(1, 13) if orchestrator.num_ues is None else [orchestrator.num_ues]
    states: list[dict[str, Any]] = []
    for count in counts:
        if spec.environment["name"] == "mec":
            from rllib_mec.envs import BatchedMECEnv
            from rllib_mec.orchestrator.mec import states_of_mec

            env: Any = BatchedMECEnv(config | {"num_ues": count}, 2)
            now: Callable[[], Any] = lambda env=env: states_of_mec(env.simulator)  # noqa: E731
        else:
            from rllib_mec.envs.fedpeat import BatchedFedPEATEnv
            from rllib_mec.orchestrator.fedpeat import states_of_fedpeat

            env = BatchedFedPEATEnv(config | {"num_ues": count}, 2)
            now = lambda env=env: states_of_fedpeat(env.federation)  # noqa: E731
        env.reset(int(rng.integers(2**31)))
        for space in env.action_spaces.values():
            space.seed(int(rng.integers(2**31)))
        for _ in range(max(STATES // len(counts) // 2, 1)):
            states += now()
            if env.step({a: _twice(s.sample()) for a, s in env.action_spaces.items()})[3]:
                env.reset()
    return states


def _twice(action: Any) -> Any:
    if isinstance(action, dict):
        return {key: _twice(own) for key, own in action.items()}
    return np.stack([action, action])


def malformed(state: dict[str, Any], token: str | None) -> list[Request]:
    """Returns requests that are wrong in one way each, with the status that each has to get."""
    first, *others = state["ues"]

    def with_first(**changes: Any) -> bytes:
        return json.dumps({**state, "ues": [first | changes, *others]}).encode()

    whole = json.dumps(state).encode()
    lacking = {key: value for key, value in first.items() if key != "gain_db"}
    noise = random.Random(0).randbytes(300)
    requests = [
        Request("empty", (400,)),
        Request("half", (400,), whole[: len(whole) // 2]),
        Request("noise", (400,), noise),
        Request("deep", (400,), b"[" * 50_000),
        Request("twins", (400,), b'{"ues": [], "ues": []}'),
        Request("no object", (422,), b"[1, 2]"),
        Request("no ues", (422,), b"{}"),
        Request("nobody", (422,), json.dumps({**state, "ues": []}).encode()),
        Request("no UE", (422,), json.dumps({**state, "ues": [*others, 7]}).encode()),
        Request("unknown key", (422,), json.dumps({**state, "x": 1}).encode()),
        Request("unknown field", (422,), with_first(x=1)),
        Request("missing", (422,), json.dumps({**state, "ues": [lacking, *others]}).encode()),
        Request("NaN", (422,), with_first(gain_db=float("nan"))),
        Request("infinite", (422,), with_first(gain_db=float("inf"))),
        Request("text", (422,), with_first(gain_db="-80")),
        Request("huge", (422,), with_first(gain_db=10**300)),
        Request("out of range", (422,), with_first(cached_retention=7)),
        Request("too large", (413,), b" " * TOO_LARGE),
        Request("no JSON", (415,), whole, headers={"Content-Type": "text/plain"}),
        Request("no type", (415,), whole, headers={}),
        Request("no path", (404,), whole, path="/decisions"),
        Request("GET", (405,), method="GET"),
        Request("DELETE", (405,), method="DELETE", path="/schema"),
        Request("web socket", (400, 401, 403), method="GET", headers=UPGRADE),
        Request("no HTTP", (400,), raw=b"decide!\r\n\r\n"),
        Request("no header", (400,), raw=b"GET /health HTTP/1.1\r\nnonsense\r\n\r\n"),
        Request(
            "bad length",
            (400, 413),
            raw=b"POST /decide HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        ),
    ]
    if token is not None:
        requests.append(Request("no token", (401,), whole))
    return requests


def right(decision: Any, expected: Any) -> bool:
    """Whether two decisions are the same, numbers up to a tolerance."""
    if isinstance(expected, dict):
        return set(decision) == set(expected) and all(
            right(decision[key], value) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return len(decision) == len(expected) and all(map(right, decision, expected))
    if isinstance(expected, float) and isinstance(decision, float):
        return abs(decision - expected) <= TOLERANCE * max(1.0, abs(expected))
    return decision == expected


class Connection:
    """One connection, made again where an answer ends it."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, data: bytes, alone: bool) -> tuple[int, bytes]:
        """Sends bytes; returns the status and body of the answer."""
        if alone:
            await self.close()
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.host, self.port)
        reader, writer = self.streams
        writer.write(data)
        with contextlib.suppress(ConnectionError):  # the answer to what is too large comes early
            await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split()[1])
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = b""
        if fields.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        elif "content-length" in fields:
            body = await reader.readexactly(int(fields["content-length"]))
        if alone or fields.get("connection") == "close":
            await self.close()
        return status, body

    async def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


class Load:
    """Sends requests when they are due, and keeps what came of them."""

    def __init__(self, url: str, token: str | None, timeout_s: float = 30.0) -> None:
        parts = urlsplit(url)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)
        self.token, self.timeout_s = token, timeout_s
        self.latencies: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(
        self, requests: Iterator[Request], seconds: float, rate: float, at_a_time: int
    ) -> None:
        began = time.perf_counter()
        due = ((began + k / rate, next(requests)) for k in itertools.count())

        async def worker() -> None:
            connection = Connection(self.host, self.port)
            for moment, request in due:
                if moment > began + seconds:
                    break
                await asyncio.sleep(max(0.0, moment - time.perf_counter()))
                await self._one(connection, request, moment)
            await connection.close()

        await asyncio.gather(*(worker() for _ in range(at_a_time)))

    async def _one(self, connection: Connection, request: Request, moment: float) -> None:
        well_formed = request.decision is not None
        data = request.bytes(f"{self.host}:{self.port}", self.token)
        try:
            # What may end a connection gets one of its own.
            status, body = await asyncio.wait_for(
                connection.ask(data, alone=not well_formed), self.timeout_s
            )
        except (OSError, EOFError, asyncio.TimeoutError, ValueError, IndexError) as error:
            await connection.close()
            self.wrong.append(f"{request.name}: {type(error).__name__}: {error}")
            self.statuses["no answer"] += 1
            return
        kind = "well-formed" if well_formed else "malformed"
        self.statuses[f"{kind} {status}"] += 1
        if status not in request.statuses:
            self.wrong.append(f"{request.name}: status {status}: {body[:200]!r}")
        elif well_formed:
            self.latencies.append(time.perf_counter() - moment)
            if not right(json.loads(body), request.decision):
                self.wrong.append(f"{request.name}: {body[:200]!r}, expected {request.decision}")


def requests_of(
    orchestrator: Orchestrator, token: str | None, share_malformed: float
) -> Iterator[Request]:
    """Yields requests without end, malformed ones evenly among them."""
    states = states_of(orchestrator)
    well_formed = itertools.cycle(
        [
            Request("state", (200,), json.dumps(s).encode(), decision=orchestrator.decide(s))
            for s in states
        ]
    )
    bad = itertools.cycle(malformed(states[0], token))
    owed = 0.0
    while True:
        owed += share_malformed
        if owed >= 1:
            owed -= 1
            yield next(bad)
        else:
            yield next(well_formed)


@contextlib.contextmanager
def served(directory: Path) -> Iterator[str]:
    """Starts ``rllib serve`` and gives its URL."""
    command = [sys.executable, "-m", "rllib_mec.cli", "serve", str(directory), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if " at " not in line:
            raise SystemExit(f"rllib serve ended with {process.wait()}")
        yield line.split(" at ")[1].split()[0]
    finally:
        process.terminate()
        process.wait(60)


def main() -> int:
    """Runs the load; returns 1 if anything was answered wrongly."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--url", help="of a server that is running")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second")
    parser.add_argument("--malformed", type=float, default=0.2, help="their share")
    parser.add_argument("--at-a-time", type=int, default=16, help="connections")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    token = arguments.token_file.read_text().strip() if arguments.token_file else None
    orchestrator = Orchestrator(arguments.directory)
    requests = requests_of(orchestrator, token, arguments.malformed)
    server = contextlib.nullcontext(arguments.url) if arguments.url else served(arguments.directory)
    with server as url:
        load = Load(url, token)
        asyncio.run(_warmed(load, requests))
        load = Load(url, token)
        began = time.perf_counter()
        asyncio.run(load.run(requests, arguments.seconds, arguments.rate, arguments.at_a_time))
        took = time.perf_counter() - began
    quantiles = (50, 90, 95, 99, 99.9, 100)
    found = np.percentile(np.array(load.latencies or [np.nan]) * 1e3, quantiles).round(2)
    sent = sum(load.statuses.values())
    report = {
        "seconds": round(took, 1),
        "requests": sent,
        "per_second": round(sent / took, 1),
        "statuses": dict(sorted(load.statuses.items())),
        "wrong": len(load.wrong),
        "latency_ms": {f"p{q:g}": float(ms) for q, ms in zip(quantiles, found, strict=True)},
        "machine": machine(),
    }
    print(json.dumps(report, indent=2))
    for line in load.wrong[:10]:
        print(line, file=sys.stderr)
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    return int(bool(load.wrong))


async def _warmed(load: Load, requests: Iterator[Request]) -> None:
    await load.run(requests, 1.0, 20.0, 2)


if __name__ == "__main__":
    sys.exit(main())
