"""Two cooperative tasks of MPE for B worlds at once, number for number those of mpe2."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib_mec.envs.mpe.particles import Floats, Particles, drive, relative
from rllib_mec.errors import InputError
from rllib_mec.system.tasks import Seeds, streams

Observation = NDArray[np.float32]


class BatchedTask(abc.ABC):
    """B worlds in lockstep, whose agents get one reward: the mean of theirs in mpe2.

    Published returns are in other units. ``mappo_return`` is what the MPE of MAPPO's authors
    (arXiv 2103.01955, github.com/marlbenchmark/on-policy) would count for the same episode. There

    * the team's reward is the sum of all agents' rewards, each of which, in spread, is the whole
      of all distances and the agent's collisions, one with itself among them;
    * an agent is accelerated before it moves, in mpe2 after: their worlds are one step ahead, so
      that their reward is that of where agents are about to be.

    What is left of the difference: agents that touch push each other one step later in mpe2.

    Args:
        num_envs: B. max_cycles: steps of an episode. continuous_actions: whether agents give a
            weight to each choice, in [0, 1], instead of choosing.
    """

    observation_spaces: dict[str, gym.Space]
    action_spaces: dict[str, gym.Space]
    metric_names = ("reward", "mappo_return")

    def __init__(
        self, num_envs: int, max_cycles: int = 25, continuous_actions: bool = False
    ) -> None:
        if isinstance(max_cycles, bool) or not isinstance(max_cycles, int) or max_cycles < 1:
            raise InputError(f"max_cycles = {max_cycles!r}: expected a whole number >= 1")
        if not isinstance(continuous_actions, bool):
            raise InputError(f"continuous_actions = {continuous_actions!r}: expected true or false")
        self.num_envs, self.max_cycles = num_envs, max_cycles
        self.continuous = continuous_actions
        self._rngs = streams(None, num_envs)
        self._steps = 0
        self._return, self._mappo_return = np.zeros((2, num_envs))

    def reset(self, seed: Seeds = None) -> dict[str, Observation]:
        """Starts new episodes; ``seed`` restarts the random streams, None lets them run on."""
        if seed is not None:
            self._rngs = streams(seed, self.num_envs)
        self._draw(self._rngs)
        self._steps = 0
        self._return, self._mappo_return = np.zeros((2, self.num_envs))
        return self._observe()

    def step(self, actions: Mapping[str, Any]) -> tuple[dict[str, Observation], Floats, bool, bool]:
        """Moves all worlds; see :class:`~rllib_mec.hmppo.sampling.batched_env.BatchedEnv`."""
        self._act(actions)
        reward = self._reward()
        self._return += reward
        self._mappo_return += self._mappo_reward()
        self._steps += 1
        return self._observe(), reward, False, self._steps >= self.max_cycles

    def episode_metrics(self) -> dict[str, Floats]:
        """``reward`` and ``mappo_return``: of the episode so far, (B,) each."""
        return {"reward": self._return.copy(), "mappo_return": self._mappo_return.copy()}

    def _choice(self, number: int) -> gym.Space:
        """The space of an agent that chooses among so many."""
        if self.continuous:
            return gym.spaces.Box(0.0, 1.0, (number,), np.float32)
        return gym.spaces.Discrete(number)

    @abc.abstractmethod
    def _draw(self, rngs: Sequence[np.random.Generator]) -> None:
        """Draws new worlds, each from its own stream."""

    @abc.abstractmethod
    def _act(self, actions: Mapping[str, Any]) -> None:
        """Carries out what the agents do."""

    @abc.abstractmethod
    def _reward(self) -> Floats:
        """The mean of all agents' rewards, (B,)."""

    @abc.abstractmethod
    def _mappo_reward(self) -> Floats:
        """What ``mappo_return`` sums up, (B,)."""

    @abc.abstractmethod
    def _observe(self) -> dict[str, Observation]:
        """What each agent, or group, observes, (B, …)."""


class BatchedSpread(BatchedTask):
    """``simple_spread_v3``: N agents cover N landmarks and keep out of each other's way.

    The agents are alike and a group, ``agent``, with one actor. An agent observes its velocity and
    position, where landmarks and others are from there, and what others say, which is nothing.

    Args:
        N: agents. local_ratio: weight of an agent's own collisions against the distances of
            all landmarks to the nearest agent. landmark_range: landmarks lie within [-r, r];
            mpe2 has 1, the MPE of MAPPO's authors (arXiv 2103.01955) 0.8.
    """

    RADIUS = 0.15

    def __init__(
        self,
        num_envs: int,
        N: int = 3,
        local_ratio: float = 0.5,
        landmark_range: float = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__(num_envs, **settings)
        if isinstance(N, bool) or not isinstance(N, int) or N < 1:
            raise InputError(f"N = {N!r}: expected a whole number >= 1")
        for name, value in (("local_ratio", local_ratio), ("landmark_range", landmark_range)):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 <= value <= 1:
                raise InputError(f"{name} = {value!r}: expected a number in [0, 1]")
        self.local_ratio, self.landmark_range, self.number = local_ratio, landmark_range, N
        names = tuple(f"agent_{index}" for index in range(N))
        self.agent_groups = {"agent": names}
        size = 4 + 2 * N + 4 * (N - 1)
        observed = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.observation_spaces = dict.fromkeys(names, observed)
        self.action_spaces = dict.fromkeys(names, self._choice(5))
        self._others = np.array([[j for j in range(N) if j != i] for i in range(N)], np.intp)

    def _draw(self, rngs: Sequence[np.random.Generator]) -> None:
        places = np.stack([rng.uniform(-1, 1, (2 * self.number, 2)) for rng in rngs])
        agents, landmarks = np.split(places, 2, axis=1)
        self.world = Particles(agents, landmarks * self.landmark_range, self.RADIUS)

    def _act(self, actions: Mapping[str, Any]) -> None:
        chosen = np.asarray(actions["agent"]).reshape(self.num_envs, self.number, -1)
        self.world.step(drive(chosen if self.continuous else chosen[..., 0], self.continuous))

    def _reward(self) -> Floats:
        distances, collisions = self._costs(self.world.position)
        shared = distances * (1 - self.local_ratio)
        return -shared - collisions * self.local_ratio / self.number

    def _mappo_reward(self) -> Floats:
        distances, collisions = self._costs(self.world.coming())
        return -self.number * distances - collisions - self.number

    def _costs(self, position: Floats) -> tuple[Floats, Floats]:
        """Distances of all landmarks to the nearest agent, and all agents' collisions, (B,)."""
        apart = self.world.landmarks[:, :, None] - position[:, None]
        nearest = np.sqrt(np.square(apart).sum(axis=-1)).min(axis=-1).sum(axis=-1)
        return nearest, self.world.touching(position).sum(axis=(1, 2))

    def _observe(self) -> dict[str, Observation]:
        world, number = self.world, self.number
        others = world.position[:, self._others] - world.position[:, :, None]
        observed = [
            world.velocity,
            world.position,
            relative(world.landmarks, world.position),
            others.reshape(self.num_envs, number, -1),
            np.zeros((self.num_envs, number, 2 * (number - 1))),
        ]
        joined = np.concatenate(observed, axis=-1, dtype=np.float32)
        return {"agent": joined.reshape(self.num_envs, -1)}


class BatchedSpeakerListener(BatchedTask):
    """``simple_speaker_listener_v4``: a listener goes to the landmark that a speaker names.

    The speaker observes the colour of the landmark and says one of three words; the listener
    observes its velocity, where the landmarks are from there, and the word of the step before.
    """

    COLOURS = np.array([[0.65, 0.15, 0.15], [0.15, 0.65, 0.15], [0.15, 0.15, 0.65]])
    WORDS = 3

    def __init__(self, num_envs: int, **settings: Any) -> None:
        super().__init__(num_envs, **settings)
        self.observation_spaces = {
            "speaker_0": gym.spaces.Box(-np.inf, np.inf, (3,), np.float32),
            "listener_0": gym.spaces.Box(-np.inf, np.inf, (11,), np.float32),
        }
        self.action_spaces = {
            "speaker_0": self._choice(self.WORDS),
            "listener_0": self._choice(5),
        }

    def _draw(self, rngs: Sequence[np.random.Generator]) -> None:
        self.goal = np.array([rng.integers(len(self.COLOURS)) for rng in rngs])
        places = np.stack([rng.uniform(-1, 1, (1 + len(self.COLOURS), 2)) for rng in rngs])
        self.world = Particles(places[:, :1], places[:, 1:])
        self.word = np.zeros((self.num_envs, self.WORDS))

    def _act(self, actions: Mapping[str, Any]) -> None:
        word, move = (np.asarray(actions[agent]) for agent in ("speaker_0", "listener_0"))
        self.world.step(drive(move[:, None], self.continuous))
        self.word = word if self.continuous else np.eye(self.WORDS)[word.astype(np.intp)]

    def _reward(self) -> Floats:
        return self._reward_at(self.world.position)

    def _mappo_reward(self) -> Floats:
        return 2 * self._reward_at(self.world.coming())

    def _reward_at(self, position: Floats) -> Floats:
        goal = self.world.landmarks[np.arange(self.num_envs), self.goal]
        return -np.square(position[:, 0] - goal).sum(axis=-1)

    def _observe(self) -> dict[str, Observation]:
        world = self.world
        seen = relative(world.landmarks, world.position)[:, 0]
        heard = [world.velocity[:, 0], seen, self.word]
        return {
            "speaker_0": self.COLOURS[self.goal].astype(np.float32),
            "listener_0": np.concatenate(heard, axis=-1, dtype=np.float32),
        }
