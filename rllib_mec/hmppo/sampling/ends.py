"""When an episode of a ``MultiAgentEnv`` is over: by its own word, or agent by agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set


class Ends:
    """Which agents of one environment have ended.

    An episode ends when the environment says so by ``__all__``, or when each of its possible agents
    has ended. What ends of its own in the step in which it is cut off has ended of its own.

    Args:
        agents: all that may be there.
    """

    def __init__(self, agents: Iterable[str]) -> None:
        self._agents = frozenset(agents)
        self._ended: Set[str] = frozenset()

    def begin(self) -> None:
        """All are there (again)."""
        self._ended = frozenset()

    def step(
        self, observed: Set[str], terminated: Mapping[str, bool], truncated: Mapping[str, bool]
    ) -> tuple[bool, bool, Set[str]]:
        """Takes in a step.

        Args:
            observed: who is shown something. terminated, truncated: as of a ``MultiAgentEnv``.

        Returns:
            whether the episode is over, whether it is cut off, and, while it goes on, who has ended
            in this step: what these are shown is the last they see, and they are not asked.
        """
        over, cut = (bool(ends.get("__all__", False)) for ends in (terminated, truncated))
        if over or cut:
            return over, cut and not over, frozenset()
        gone = {a for a in self._agents if terminated.get(a) or truncated.get(a)}
        self._ended = (self._ended - observed) | gone
        if self._ended != self._agents:
            return False, False, gone
        cut = any(truncated.get(agent) and not terminated.get(agent) for agent in gone)
        return not cut, cut, frozenset()
