"""A critic of one's own: attention over the members of a group."""

from torch import nn

from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.modules.by_autograd import ByAutograd
from rllib_mec.hmppo.modules.critic import Critic


class Attention(ByAutograd):
    """Values (R, 1) of what three members see, (R, 3 F), whatever their order."""

    def __init__(self, num_inputs, width, members=3):
        super().__init__()
        self.members = members
        self.embed = nn.Linear(num_inputs // members, width)
        self.attend = nn.MultiheadAttention(width, num_heads=4, batch_first=True)
        self.value = nn.Linear(width, 1)

    @property
    def last(self):  # a linear layer: targets are normalised in it
        return self.value

    def forward(self, x):
        tokens = self.embed(x.unflatten(-1, (self.members, -1))).relu()
        attended, _ = self.attend(tokens, tokens, tokens, need_weights=False)
        return self.value((tokens + attended).mean(dim=1))


class AttentionCritic(Critic):
    def make_network(self, num_inputs):
        return Attention(num_inputs, self.model_config["fcnet_hiddens"][0])


class Config(HMPPOConfig):
    """HMPPO with this critic: `run: tuned_examples.extending.attention:Config`."""

    critic_class = AttentionCritic
