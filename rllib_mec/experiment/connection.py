"""Reaching a cluster: one line where nobody listens there, or where a token is missing."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from ray._private.authentication import authentication_token_setup
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.exceptions import AuthenticationError, RayError

from rllib_mec.errors import InputError

SECONDS_TO_ANSWER = 10


def check_address(address: str) -> None:
    """Refuses an address that Ray itself would try for minutes, with a warning each second.

    Args:
        address: as ``ray.init`` takes it; only ``host:port`` is looked at.

    Raises:
        InputError: nobody listens there, or the cluster does not let us in.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():  # "auto"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"no Ray at {address}: {reason}") from None
    if "://" in address:
        return
    check_token(address)
    try:
        with _nothing_on_stderr():
            GcsClient(address=address)
    except AuthenticationError:
        raise refused(address) from None
    except RayError as error:
        raise InputError(f"no Ray at {address}: {' '.join(str(error).split())}") from None


def check_token(where: str) -> None:
    """Takes the token that Ray finds by itself, and refuses a mode without one.

    At the latter Ray would end the process.

    Args:
        where: the cluster's address.

    Raises:
        InputError: ``RAY_AUTH_MODE=token``, and there is no token.
    """
    take = getattr(authentication_token_setup, "maybe_enable_token_auth_if_token_available", None)
    if take is not None:  # Ray 2.58 has no default
        take(warn_if_disabled=False)
    if _wants_token() and not os.environ.get("RAY_AUTH_TOKEN") and not _holds_something(_file()):
        raise InputError(
            f"no access to Ray at {where}: RAY_AUTH_MODE=token, and there is no token in "
            f"{_file()}: set RAY_AUTH_TOKEN_PATH to the file that holds it"
        )


def refused(where: str) -> InputError:
    """Returns the error for a cluster that wants a token, or another one.

    Args:
        where: the cluster's address.
    """
    if not _wants_token():
        return InputError(
            f"no access to Ray at {where}: it wants a token: set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN_PATH to the file that holds it"
        )
    source = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else _file()
    return InputError(f"no access to Ray at {where}: the token in {source} is not the cluster's")


def _wants_token() -> bool:
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"


def _file() -> Path:
    """Where Ray looks for the token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def _holds_something(path: Path) -> bool:
    try:
        return bool(path.read_bytes().strip())
    except OSError:
        return False


@contextlib.contextmanager
def _nothing_on_stderr() -> Iterator[None]:
    """Keeps Ray's C++ part quiet, which no logging reaches, within a ``with`` block."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
