"""RLlib's multi-agent runner, whose environments may fail as those of the batched runner may."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from ray.rllib.env.env_runner import ENV_STEP_FAILURE
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.utils.metrics import ENV_RESET_TIMER, ENV_STEP_TIMER

from rllib_mec.hmppo.finite import check_single
from rllib_mec.hmppo.observation_codec import check_masks
from rllib_mec.hmppo.sampling.batched_metrics import count_steps
from rllib_mec.hmppo.sampling.env_check import unchecked_masks
from rllib_mec.hmppo.sampling.env_failures import EnvFailures
from rllib_mec.hmppo.sampling.env_state import STATE_INFO, flat_state
from rllib_mec.hmppo.sampling.whole_steps import WholeSteps, absent_steps


class EpisodeEnvRunner(MultiAgentEnvRunner):
    """Samples by RLlib's episodes.

    Beyond RLlib's runner: what is not finite is an error of the environment; one that always fails
    ends the runner with its own error; what is counted is what is returned; observations that are
    no arrays are flat vectors in the episodes; and every agent is in every step, see
    :mod:`rllib_mec.hmppo.sampling.whole_steps`.
    """

    env: Any

    def __init__(self, **kwargs: Any) -> None:
        self._failures = EnvFailures()
        super().__init__(**kwargs)

    def make_env(self) -> None:
        self.env = getattr(self, "env", None)  # RLlib leaves none if making it failed
        team = self.config.team()
        self._codecs = {
            agent: codec
            for name, codec in team.observation_codecs.items()
            for agent in team.ids(name)
        }
        self._structured = {a: codec for a, codec in self._codecs.items() if not codec.is_array}
        with unchecked_masks(self.config):
            super().make_env()
        if self._structured:
            # What RLlib's connectors are told: they are given flat observations.
            spaces = dict(self.env.single_observation_space.spaces)
            flat = {agent: codec.flat_space for agent, codec in self._structured.items()}
            self.env.single_observation_space = gym.spaces.Dict(spaces | flat)
        self._whole = WholeSteps(team, self.num_envs)
        self._keeper = team.ids(team.agents[0])[0] if self.config.critic_input == "state" else None
        self._steps = [0] * self.num_envs
        self._ended = [False] * self.num_envs

    def sample(self, **kwargs: Any) -> list[Any]:
        samples = super().sample(**kwargs)
        self._failures.kept()
        count_steps(
            self,
            sum(len(episode) for episode in samples),
            sum(episode.is_done for episode in samples),
            absent_steps(samples) if self._whole.any_absent else {},
        )
        return samples

    def _increase_sampled_metrics(self, num_steps: int, next_obs: Any, episode: Any) -> int:
        # RLlib counts here, and does not take back what a failure drops: see sample().
        return num_steps

    def _try_env_step(self, actions: Any) -> Any:
        try:
            with self.metrics.log_time(ENV_STEP_TIMER):
                results = self.env.step(self._whole.asked(actions))
            self._flatten(results[0])
            self._check_step(*results)
            self._keep_states(results[4])
        except Exception as error:
            self._remake(error)
            return ENV_STEP_FAILURE
        self._failures.stepped()
        self._log_env_steps(metric=self._metrics_num_try_env_step, num_steps=1)
        return results

    def _try_env_reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        while True:
            try:
                with self.metrics.log_time(ENV_RESET_TIMER):
                    observations, infos = self.env.reset(
                        seed=self._failures.seed(seed), options=options
                    )
                self._flatten(observations)
                for index, observed in enumerate(observations):
                    _check(observed, {}, index, 0)
                    self._whole.begin(index, observed)
                    self._check_masks(observed, index, 0)
                self._keep_states(infos)
            except Exception as error:
                self._remake(error)
                seed = self._seed  # the new ones have not had any
                continue
            self._steps = [0] * self.num_envs
            self._ended = [False] * self.num_envs
            self._tell_module()
            return observations, infos

    def _new_episode(self, env_index: int, episodes: Any = None) -> None:
        super()._new_episode(env_index, episodes)
        if self._structured:
            episode = (self._ongoing_episodes if episodes is None else episodes)[env_index]
            episode.observation_space = dict(self.env.single_observation_space.spaces)

    def _flatten(self, observations: Any) -> None:
        """Checks observations, and makes flat vectors of what is no array, in place."""
        for observed in observations:
            for agent in observed.keys() & self._codecs.keys():
                codec = self._codecs[agent]
                codec.check_one(observed[agent])
                if not codec.is_array:
                    flat = codec.flatten_one(observed[agent])
                    observed[agent] = flat.reshape(codec.flat_space.shape)

    def _check_step(
        self, observations: Any, rewards: Any, terminated: Any, truncated: Any, infos: Any
    ) -> None:
        for index, begins in enumerate(self._ended):
            # After the end of an episode, the next step of that environment is a reset.
            self._steps[index] = 0 if begins else self._steps[index] + 1
            _check(observations[index], rewards[index], index, self._steps[index])
            if begins:
                self._whole.begin(index, observations[index])
                self._ended[index] = False
            else:
                own = (rewards[index], terminated[index], truncated[index])
                own = self._whole.complete(index, observations[index], *own)
                rewards[index], terminated[index], truncated[index] = own
                ends = own[1]["__all__"] or own[2].get("__all__")
                # RLlib's vector environment does not know of episodes that end agent by agent.
                self.env._autoreset_envs[index] = self._ended[index] = bool(ends)
            if not self._ended[index]:  # or else nobody acts on it
                self._check_masks(observations[index], index, self._steps[index])
        self._tell_module()
        if any(self._ended):
            self._failures.kept()

    def _check_masks(self, observed: Any, environment: int, step: int) -> None:
        absent = self._whole.absent[environment]
        for agent, codec in self._structured.items():
            if codec.mask is not None and agent not in absent:
                check_masks(codec, observed[agent][None], (agent,), step, environment)

    def _keep_states(self, infos: Any) -> None:
        """Puts the states of the environments into the infos of an agent."""
        for index, env in enumerate(self.env.envs if self._keeper is not None else ()):
            state = flat_state(env.unwrapped)
            check_single("state", state, index, self._steps[index])
            own = {**infos[index].get(self._keeper, {}), STATE_INFO: state}
            infos[index] = {**infos[index], self._keeper: own}

    def _tell_module(self) -> None:
        if self._whole.any_absent:
            self.module.marks_absent = True

    def _remake(self, error: Exception) -> None:
        """Makes the environments anew after an error of theirs, or raises it."""
        if not self.config.restart_failed_sub_environments:
            raise error
        while True:
            self._failures.failed(error, self)
            try:
                return self.make_env()
            except Exception as another:
                error = another


def _check(observed: Any, rewards: Any, environment: int, step: int) -> None:
    """Raises NotFiniteError for what an environment's agents are shown and given."""
    for agent, reward in rewards.items():
        check_single(f"reward of {agent}", reward, environment, step)
    for agent, observation in observed.items():
        check_single(f"observation of {agent}", observation, environment, step)
