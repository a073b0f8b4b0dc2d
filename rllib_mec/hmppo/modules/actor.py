"""An actor: one agent's policy network, from its observation to its action distribution."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from rllib_mec.hmppo.action_codec import CONTINUOUS, ActionCodec
from rllib_mec.hmppo.distributions import ActionDistribution, rllib_distribution
from rllib_mec.hmppo.modules.networks import EntityHeads, mlp


class Actor(TorchRLModule):
    """Maps observations (B, observation_size) to distribution parameters (B, num_parameters).

    Its ``model_config`` holds ``fcnet_hiddens``, ``fcnet_activation``, ``initial_log_std`` and
    ``num_entities`` (None for a plain MLP). Standard deviations do not depend on the
    observation; with entities, all entities share them, so that no weight depends on N.
    """

    def setup(self) -> None:
        config = self.model_config
        self.codec = ActionCodec(self.action_space)
        self.num_entities: int | None = config["num_entities"]
        n = self.num_entities or 1
        num_inputs = self.observation_space.shape[0] // n
        num_outputs = self.codec.num_logits // n
        hidden, activation = config["fcnet_hiddens"], config["fcnet_activation"]
        if self.num_entities:
            self.network: nn.Module = EntityHeads(num_inputs, hidden, num_outputs, activation, 0.01)
        else:
            self.network = mlp(num_inputs, hidden, num_outputs, activation, 0.01)
        num_stds = sum(leaf.size for leaf in self.codec.leaves if leaf.kind == CONTINUOUS) // n
        # An empty parameter gets no gradient, which data-parallel learners do not accept.
        if num_stds:
            self.log_std = nn.Parameter(torch.full((num_stds,), float(config["initial_log_std"])))

    def parameters_of(self, observations: Tensor) -> Tensor:
        """Distribution parameters, (B, num_parameters), of observations (B, observation_size)."""
        n = self.num_entities or 1
        batch = len(observations)
        inputs = observations.reshape(batch, n, -1) if self.num_entities else observations
        outputs = self.network(inputs).reshape(batch, n, -1)
        parts: list[Tensor] = []
        output, std = 0, 0
        for leaf in self.codec.leaves:
            width = leaf.num_logits // n
            parts.append(outputs[..., output : output + width].reshape(batch, -1))
            output += width
            if leaf.kind == CONTINUOUS:
                log_std = self.log_std[std : std + width]
                parts.append(log_std.repeat(n).expand(batch, -1))
                std += width
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def distribution(self, observations: Tensor) -> ActionDistribution:
        """The action distribution at observations (B, observation_size)."""
        return ActionDistribution(self.codec, self.parameters_of(observations))

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        observations = batch[Columns.OBS]
        return {Columns.ACTION_DIST_INPUTS: self.parameters_of(observations.flatten(1))}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        # RLlib's own would switch all submodules to training mode: none of them has another.
        return self._forward(batch)

    def get_inference_action_dist_cls(self) -> Any:
        return rllib_distribution(self.action_space)

    get_exploration_action_dist_cls = get_inference_action_dist_cls
    get_train_action_dist_cls = get_inference_action_dist_cls
