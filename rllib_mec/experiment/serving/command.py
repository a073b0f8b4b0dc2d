"""Serves an exported orchestrator until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rllib_mec.errors import InputError
from rllib_mec.orchestrator.front import Limits, digest
from rllib_mec.orchestrator.orchestrator import Orchestrator

NAME = "rllib-serve"
"""Of the application on a cluster."""

TOKEN_VARIABLE = "RLLIB_SERVE_TOKEN"

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def read_token(file: Path | None) -> str | None:
    """Returns the token that clients have to send, from a file or the environment; None for none.

    Raises:
        InputError: the file cannot be read, or there is no token in what is given.
    """
    if file is not None:
        place = f"--token-file {file}"
        try:
            given = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{place}: {reason}") from None
    elif TOKEN_VARIABLE in os.environ:
        place, given = TOKEN_VARIABLE, os.environ[TOKEN_VARIABLE]
    else:
        return None
    token = given.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(f"{place}: expected a line of letters, digits and signs")
    return token


def serve_command(
    directory: Path, host: str, port: int, limits: Limits, token: str | None, options: Any
) -> int:
    """Serves until a signal comes; returns the command's exit status.

    Args:
        port: 0 for any that is free. options: how Ray is started or joined, see
            :class:`~rllib_mec.experiment.run.Options`.

    Raises:
        InputError: no such directory, the port is taken, Ray cannot be had, or the cluster serves
            already.
    """
    if token is None and host not in _LOOPBACK:
        raise InputError(
            f"--host {host}: expected a token with it (--token-file or {TOKEN_VARIABLE}): whoever "
            "reaches the port could ask"
        )
    if options.on_cluster and not port:
        raise InputError("--port 0: expected a number with --address, as nobody here would know it")
    spec = Orchestrator(directory).policy.spec
    files = {name: (directory / name).read_bytes() for name in (*spec.files, "spec.json")}
    if not options.on_cluster:
        port = _free_port(host, port) if port else _any_port(host)
        # Ray's workers let all other processes go first, but here somebody waits for them.
        os.environ.setdefault("RAY_worker_niceness", "0")

    from rllib_mec.experiment.run import ray_session

    with ray_session(options), _stopping() as stop:
        from ray import serve
        from ray.exceptions import RayError
        from ray.serve.exceptions import RayServeException

        from rllib_mec.experiment.serving.deployment import application

        if not options.verbose:
            logging.getLogger("ray.serve").setLevel(logging.ERROR)
        _check_unserved(serve, options)
        app = application(files, limits, None if token is None else digest(token))
        quiet = {"log_level": "INFO" if options.verbose else "ERROR"}
        http = {"host": host, "port": port}
        try:
            try:
                serve.start(proxy_location="HeadOnly", http_options=http, logging_config=quiet)
                serve.run(app, name=NAME, route_prefix="/", logging_config=quiet)
            except (RuntimeError, TimeoutError, RayError) as error:
                # The last line is what was raised in the process that was to serve.
                reason = str(error).strip().splitlines()[-1]
                raise InputError(f"Ray Serve cannot serve {directory}: {reason}") from error
            asked = "with the token" if token else "without a token"
            shown = f"[{host}]" if ":" in host else host
            print(
                f"serving {directory} at http://{shown}:{port} {asked}: POST /decide, GET /schema, "
                "/metrics, /health; Ctrl-C ends it",
                flush=True,
            )
            stop.wait()
            print("\nstopped", file=sys.stderr)
        finally:
            if options.on_cluster:
                serve.shutdown()
            else:  # the rest ends with the Ray that was started here
                with contextlib.suppress(RayServeException):
                    serve.delete(NAME)
    return 0


def _any_port(host: str) -> int:
    """Returns a port that is free, and that no other process is given by chance until it is taken.

    Ray's own processes ask for any port, of which systems have those above 32,767 or 49,151.

    Raises:
        InputError: none can be had on this host.
    """
    ports = random.SystemRandom().sample(range(20_000, 32_000), 20)
    for port in ports[:-1]:
        with contextlib.suppress(InputError):
            return _free_port(host, port)
    return _free_port(host, ports[-1])


def _free_port(host: str, port: int) -> int:
    """Returns the port, if it is free.

    Raises:
        InputError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"--host {host} --port {port}: {reason}") from None
        return port


def _check_unserved(serve: Any, options: Any) -> None:
    """Refuses a cluster that serves already: its applications share ports and end together."""
    if not options.on_cluster:
        return
    found = serve.status()
    if found.applications or found.proxies:
        names = ", ".join(found.applications) or "nothing yet"
        raise InputError(
            f"--address: the cluster has a Ray Serve already, with {names}: expected one without"
        )


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Gives what Ctrl-C and the like set, within a ``with`` block; a second one interrupts."""
    stop = threading.Event()

    def on_signal(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    # After ray.init, which sets a SIGTERM handler of its own; what nohup turned off stays off.
    numbers = [n for n in _SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
