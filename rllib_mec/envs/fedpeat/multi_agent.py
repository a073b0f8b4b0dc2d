"""``fedpeat`` as RLlib's ``MultiAgentEnv``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from rllib_mec.envs.fedpeat.batched import BatchedFedPEATEnv
from rllib_mec.envs.fedpeat.config import FedPEATConfig
from rllib_mec.envs.one_of_batch import OneOfBatch


class FedPEATEnv(OneOfBatch):
    """The control of federated emulator-assisted tuning, a round per step (arXiv 2310.17491).

    ## Description
    A server and N UEs tune a foundation model together. Each round the orchestrator says who takes
    part, which emulator each UE holds, and how the UEs share the uplink and with what power
    they send their adapters. See :mod:`rllib_mec.system.fedpeat.round`, of which all formulas are
    our reading.

    ## Action Space
    A ``Dict`` of one number for each UE and decision, by the agent ``orchestrator``:

    | Key       | Space                    | What it is                       | Unit |
    |-----------|--------------------------|----------------------------------|------|
    | selection | MultiDiscrete([2] * N)   | 1: the UE takes part             | -    |
    | retention | Box(``retention``)       | E, rounded to an emulator        | -    |
    | bandwidth | Box(-1, 1)               | b, the logarithm of a share      | -    |
    | power     | Box(``uplink_power_w``)  | p, uplink power                  | W    |

    Shares of the uplink are on the simplex over the selected UEs whatever b is. With
    ``agents: 4`` each decision has an agent of its own, under its name; with ``agents: 3``,
    ``transmission`` decides bandwidth and power. They decide in the order above, and each sees what
    was decided before it: ``action_slots`` says where, an algorithm has to fill it in.

    ## Observation
    See :mod:`rllib_mec.envs.fedpeat.observations` and :class:`FedPEATAgents`.

    ## Rewards
    All agents get omega_d ln(delay / 1 s) + omega_x exchanges + omega_p perplexity of the round,
    and with ``fedpeat-energy`` omega_e times the UEs' mean energy.

    ## Episode End
    Truncated after ``num_rounds`` steps; never terminated. The last infos hold ``episode_metrics``:
    reward, log_delay, exchanges and perplexity, see
    :meth:`Federation.episode_metrics <rllib_mec.system.fedpeat.Federation.episode_metrics>`.

    ## Version History
    * v0: initial version.

    Args:
        env_config: see :meth:`FedPEATConfig.of <rllib_mec.envs.fedpeat.config.FedPEATConfig.of>`.

    Raises:
        InputError: an unknown key, or a value that makes no sense.
    """

    def __init__(self, env_config: Mapping[str, Any] | None = None) -> None:
        config = FedPEATConfig.of(env_config)
        parsed = {"scenario": config.scenario, "agents": config.agents}
        super().__init__(functools.partial(BatchedFedPEATEnv, parsed))
        self.scenario = config.scenario
        self.federation = self._one.federation
