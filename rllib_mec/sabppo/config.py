"""The configuration of SABPPO."""

from __future__ import annotations

from typing import Any

from rllib_mec.errors import InputError
from rllib_mec.hmppo import HMPPOConfig, Team
from rllib_mec.hmppo.model_settings import MODEL_DEFAULTS, RECURRENT
from rllib_mec.sabppo.actor import BranchingActor
from rllib_mec.sabppo.algorithm import SABPPO

BRANCHING_DEFAULTS: dict[str, Any] = {
    **{name: own for name, own in MODEL_DEFAULTS.items() if name not in RECURRENT},
    "branch_width": 16,  # of the hidden layer of each branch; 0: none
}
"""What ``model_config`` may hold, with its defaults."""


class SABPPOConfig(HMPPOConfig):
    """Configures SABPPO: PPO for one agent that takes many decisions at once.

    Named in FedPEAT (arXiv 2310.17491), whose text of it was not available; branches are those of
    Tavakoli et al. ("Action Branching Architectures", 2018). One trunk maps the whole state
    (``fcnet_hiddens``); every dimension of the action, be it a coin, a choice or a number, has a
    branch of its own on top of it (``branch_width``), and a number has a standard deviation of
    its own.

    All else is HMPPO's, whose settings it has. ``ratio`` is ``branch`` by default: each
    dimension's probability ratio is clipped by itself; ``joint`` clips that of the whole action.
    With ``entity_shared``, trunk and branches are shared by the entities. Actions of one step do
    not see each other: ``update`` and ``critic`` make no difference with one agent.
    """

    actor_class = BranchingActor
    model_defaults = BRANCHING_DEFAULTS

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or SABPPO)
        self.ratio = "branch"

    def validate(self) -> None:
        if self.case_head != "factorised":
            raise InputError(
                f"case_head = {self.case_head!r}: expected 'factorised' with SABPPO, whose "
                "branches decide at once (or HMPPO)"
            )
        super().validate()

    def _set_modules(self, team: Team, state_size: int | None = None) -> None:
        if len(team.agents) != 1 or team.members:
            raise InputError(
                f"env = {self.env!r} has the agents {', '.join(team.agents)}: expected one agent "
                "with SABPPO (or HMPPO)"
            )
        super()._set_modules(team, state_size)

    def _checked_networks(self, model_config: Any = None) -> dict[str, Any]:
        networks = super()._checked_networks(model_config)
        width = networks["branch_width"]
        if isinstance(width, bool) or not isinstance(width, int) or width < 0:
            raise InputError(f"model_config.branch_width = {width!r}: expected a whole number >= 0")
        if width and not networks["fcnet_hiddens"]:
            raise InputError(
                "model_config.fcnet_hiddens = []: expected a width at least, for the trunk"
            )
        return networks
