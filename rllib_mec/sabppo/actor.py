"""The actor of SABPPO: HMPPO's, with a branch for each dimension of the action."""

from __future__ import annotations

from rllib_mec.hmppo.action_codec import CATEGORICAL
from rllib_mec.hmppo.modules.actor import Actor
from rllib_mec.hmppo.modules.images import ImageMLP, plain_network
from rllib_mec.hmppo.modules.networks import MLP, EntityEncoder, Network
from rllib_mec.sabppo.branches import BranchHeads


class BranchingActor(Actor):
    """Its ``model_config`` holds ``branch_width``, too; with 0 it is HMPPO's actor."""

    def make_network(self, num_inputs: int, num_outputs: int) -> Network:
        config = self.model_config
        width = config["branch_width"]
        if not width:
            return super().make_network(num_inputs, num_outputs)
        entities = self.num_entities or 1
        outputs = [
            count
            for leaf in self.codec.leaves
            for count in (leaf.choices if leaf.kind == CATEGORICAL else (1,) * leaf.size)[
                : leaf.size // entities
            ]
        ]
        hidden, activation = config["fcnet_hiddens"], config["fcnet_activation"]
        trunk: MLP | ImageMLP | EntityEncoder
        if self.num_entities:
            trunk = EntityEncoder(num_inputs, hidden, activation)
        else:
            trunk = plain_network(num_inputs, hidden, None, config, self.observation_codec.images)
        return BranchHeads(trunk, outputs, width, activation, 0.01)
