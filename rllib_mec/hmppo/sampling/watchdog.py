"""Remote environment runners that hang, or that all fail: found, restarted, and reported.

RLlib restarts runners that have died or raised. One that hangs, in an environment's step that never
returns, it waits for in every iteration, ``sample_timeout_s`` each time; and if every runner fails
every time, it goes on for ever.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

MAX_EMPTY_ITERATIONS = 10
MOST_SECONDS_WITHOUT_A_SAMPLE = 60.0
"""Both in a row end the training: a node that starts again takes its time."""

PAUSE_S = 1.0
"""What an empty iteration takes at least, for runners to start again."""

SECONDS_TO_SAY_WHY = 30.0

logger = logging.getLogger("ray.rllib")


class Watchdog:
    """Looks at what the remote runners of an algorithm answer.

    Args:
        group: RLlib's ``EnvRunnerGroup``.
        sample_timeout_s: how long a sample is waited for; None, for ever.

    Attributes:
        empty_iterations: how many there have been since the last sample.
    """

    def __init__(self, group: Any, sample_timeout_s: float | None) -> None:
        self._manager = group._worker_manager
        self._timeout = sample_timeout_s
        self._owes_since: dict[int, float] = {}
        self._sampled_at = time.monotonic()
        self._error: tuple[int, RayError] | None = None
        self.empty_iterations = 0
        self._fetch = self._manager._fetch_result
        # All answers come this way, those that are waited for and those that are not.
        self._manager._fetch_result = self._fetch_and_note

    def begin(self) -> None:
        """To be called before an iteration: healthy runners are about to be asked."""
        now, healthy = time.monotonic(), self._manager.healthy_actor_ids()
        self._owes_since = {runner: self._owes_since.get(runner, now) for runner in healthy}

    def end(self, sampled: bool) -> None:
        """To be called after an iteration, with whether it had any sample.

        Raises:
            RuntimeError: there have been too many without; it names the last error of a runner.
        """
        self._restart_the_silent()
        if sampled:
            self.empty_iterations, self._sampled_at, self._error = 0, time.monotonic(), None
            return
        self.empty_iterations += 1
        seconds = time.monotonic() - self._sampled_at
        if (
            self.empty_iterations >= MAX_EMPTY_ITERATIONS
            and seconds >= MOST_SECONDS_WITHOUT_A_SAMPLE
        ):
            raise RuntimeError(
                f"{self.empty_iterations} iterations and {seconds:.0f} s without a sample, every "
                f"environment runner fails: {self._why()}"
            )
        time.sleep(PAUSE_S)

    def _fetch_and_note(self, **arguments: Any) -> Any:
        readies, results = self._fetch(**arguments)
        for result in results:
            self._owes_since.pop(result.actor_id, None)
            if not result.ok:
                self._error = result.actor_id, result.get()
        return readies, results

    def _why(self) -> str:
        """Asks the runners what is wrong with them.

        RLlib's runners that fail end their process, and take the error along.
        """
        until = time.monotonic() + SECONDS_TO_SAY_WHY
        while self._manager.actor_ids() and time.monotonic() < until:
            answers = self._manager.foreach_actor(
                _try_to_sample, healthy_only=False, timeout_seconds=SECONDS_TO_SAY_WHY
            )
            for answer in answers:
                if answer.ok and answer.get() is not None:
                    return f"runner {answer.actor_id}: {answer.get()}"
            time.sleep(PAUSE_S)
        if self._error is None:
            return "none has said why"
        runner, error = self._error
        return f"runner {runner}: {in_a_line(error)}"

    def _restart_the_silent(self) -> None:
        if self._timeout is None:
            return
        now = time.monotonic()
        for runner, since in list(self._owes_since.items()):
            silent = now - since
            # Two, as a runner that is merely late may have answered the first in the second.
            if silent < 2 * self._timeout or not self._manager.is_actor_healthy(runner):
                continue
            logger.error(
                f"Environment runner {runner} has not answered for {silent:.0f} s and is started "
                "again; if its environments only need longer, raise sample_timeout_s = "
                f"{self._timeout:g}"
            )
            del self._owes_since[runner]
            # RLlib finds it among those that have died, and gives it state and weights.
            ray.kill(self._manager.actors()[runner], no_restart=False)
            self._manager.set_actor_state(runner, healthy=False)


def _try_to_sample(runner: Any) -> str | None:
    """What a runner does when it is asked what is wrong; returns its error, if there is one."""
    try:
        runner.sample()
    except Exception as error:
        return in_a_line(error)
    return None


def in_a_line(error: BaseException) -> str:
    r"""Returns the type and message of what a remote process has raised.

    >>> in_a_line(ValueError("an environment\\nfailed"))
    'ValueError: an environment failed'
    """
    if isinstance(error, RayTaskError):
        error = error.cause
    elif isinstance(error, RayError):
        # The text of an actor that could not be made ends with the error of its constructor.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raised = [line for line in lines if "Error: " in line.partition(" ")[0] + " "]
        return f"{type(error).__name__}: {(raised or lines or ['no reason given'])[-1]}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
