"""Ctrl-C: the first ends a run so that it can be resumed, the second ends it at once.

After the first SIGINT, SIGTERM or SIGHUP, each running trial ends its iteration and saves a
checkpoint; then Tune is told to stop, by the SIGUSR1 that it listens to, writes its own state and
returns. A run whose output nobody reads any more (``| head``) ends in the same way.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO

from ray.tune import Callback
from ray.tune.result import SHOULD_CHECKPOINT

EXIT_CODE = 130
"""What a shell reports for a command that Ctrl-C has ended."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_signals_received = 0


def requested() -> bool:
    """Tells whether a signal has asked the run to end."""
    return _signals_received > 0


@contextlib.contextmanager
def watching(
    promise: str = "saving checkpoints when the current iteration ends",
) -> Iterator[None]:
    """Handles signals as described above, within a ``with`` block.

    ``promise`` is what the user reads after the first signal.

    To be entered after ``ray.init``, which sets a SIGTERM handler of its own, and with Tune's
    SIGINT handler turned off (``TUNE_DISABLE_SIGINT_HANDLER=1``).
    """
    global _signals_received  # noqa: PLW0603 a process has one set of signal handlers too
    _signals_received = 0
    # What nohup or a shell has turned off stays off.
    numbers = [n for n in _SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _handler(promise)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(text: str, stream: TextIO | None = None) -> None:
    """Prints a line; if nobody can read it any more, asks the run to end.

    Ctrl-C on ``rllib train … | tee log`` ends tee at once, before the checkpoints are saved: that
    must not end the run with an error.
    """
    stream = stream or sys.stdout
    try:
        print(text, file=stream, flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        if not requested():
            signal.raise_signal(signal.SIGTERM)


def _handler(promise: str) -> Callable[[int, FrameType | None], None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        global _signals_received  # noqa: PLW0603
        _signals_received += 1
        if _signals_received > 1:
            raise KeyboardInterrupt
        say(
            f"\n{signal.Signals(number).name}: {promise}; a second one stops at once, without",
            sys.stderr,
        )

    return on_signal


class SaveOnInterrupt(Callback):
    """Makes the trials that run when the signal comes save a checkpoint, then stops Tune."""

    def __init__(self) -> None:
        self._unsaved: set[str] | None = None

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Asks for a checkpoint of this very iteration."""
        if requested():
            result[SHOULD_CHECKPOINT] = True

    def on_trial_save(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Notes that a trial is safe."""
        if self._unsaved is not None:
            self._unsaved.discard(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Stops Tune once no running trial is without a checkpoint."""
        if not requested():
            return
        running = {trial.trial_id for trial in trials if trial.status == trial.RUNNING}
        if self._unsaved is None:
            self._unsaved = set(running)
        self._unsaved &= running
        if not self._unsaved:
            signal.raise_signal(signal.SIGUSR1)
