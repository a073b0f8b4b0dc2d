"""What RLlib asks of an actor by itself, as of any module of its own.

A team is asked otherwise: see :class:`~rllib_mec.hmppo.modules.joint_policy.JointPolicy`.
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.distributions import ActionDistribution, draw_noise, rllib_distribution
from rllib_mec.hmppo.modules.observation_filter import ObservationFilter
from rllib_mec.hmppo.modules.recurrent import CARRIED, MEMORY, OWN, Memory, memory_of
from rllib_mec.hmppo.observation_codec import ObservationCodec


class AskedAlone:
    """The ``forward_…`` methods of an actor, and what goes with them.

    To act, observations (B, observation_size) come as the environment has them. With a memory they
    are those of T steps, (B, T, observation_size), and ``state_in`` holds it as
    ``get_initial_state`` says, (B, …); ``state_out`` is that after the last step.
    """

    action_space: Any
    model_config: Any
    autoregressive: bool
    codec: ActionCodec
    filter: ObservationFilter | None
    memory_size: int
    observation_codec: ObservationCodec
    advance: Any
    decide_alone: Any
    parameters: Any
    parameters_of: Any

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        observations, actions = batch[Columns.OBS], batch.get(Columns.ACTIONS)
        taken = actions if self.autoregressive else None  # flat ones, as learners have them
        memory = memory_of({name: own[None] for name, own in batch.items() if name in MEMORY})
        parameters = self.parameters_of(observations.flatten(1), taken, memory)
        return {Columns.ACTION_DIST_INPUTS: parameters}

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._forward_acting(batch, explore=False)

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._forward_acting(batch, explore=True)

    def _forward_acting(self, batch: dict[str, Any], *, explore: bool) -> dict[str, Any]:
        """From observations as they come; leaves the drawing to RLlib, except where it cannot.

        It cannot draw all entries of autoregressive heads at once.
        """
        if self.memory_size:
            return self._forward_remembering(batch)
        observations = self._filtered(batch[Columns.OBS].flatten(1))
        if not self.autoregressive:
            return {Columns.ACTION_DIST_INPUTS: self.parameters_of(observations)}
        noise = None
        if explore:
            noise = draw_noise(self.codec, observations.shape[:1]).to(observations.device)
        actions, parameters, _ = self.decide_alone(observations, noise)
        return {
            Columns.ACTIONS: self.codec.unflatten(actions),
            Columns.ACTION_LOGP: ActionDistribution(self.codec, parameters).log_prob(actions),
            Columns.ACTION_DIST_INPUTS: parameters,
        }

    def _forward_remembering(self, batch: dict[str, Any]) -> dict[str, Any]:
        """What RLlib asks of modules with a state: T steps, (B, T, …), from STATE_IN on."""
        values = [value[None] for value in self.parameters()]
        memory, steps = batch[Columns.STATE_IN][OWN][None], []
        for observations in self._filtered(batch[Columns.OBS].flatten(2)).unbind(1):
            parameters, memory = self.advance(values, observations[None], Memory(memory))
            steps.append(parameters[0])
        state_out = {**batch[Columns.STATE_IN], OWN: memory[0]}
        return {Columns.ACTION_DIST_INPUTS: torch.stack(steps, 1), Columns.STATE_OUT: state_out}

    def _filtered(self, observations: Tensor) -> Tensor:
        observations = observations.float()
        return observations if self.filter is None else self.filter(observations)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        # RLlib's own would switch all submodules to training mode: none of them has another.
        return self._forward(batch)

    def get_inference_action_dist_cls(self) -> Any:
        return rllib_distribution(self.action_space, masked=self.observation_codec.mask is not None)

    def get_initial_state(self) -> dict[str, Any]:
        """What RLlib's episodes keep of one agent's memory, and of critics' with it."""
        config = self.model_config
        sizes = {OWN: self.memory_size // (config.get("num_members") or 1)}
        if config.get("carried_memory"):
            sizes[CARRIED] = config["carried_memory"]
        return {name: torch.zeros(size) for name, size in sizes.items() if self.memory_size}

    get_exploration_action_dist_cls = get_inference_action_dist_cls
    get_train_action_dist_cls = get_inference_action_dist_cls
