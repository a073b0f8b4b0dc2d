"""Names: which algorithms and environments `run:` and `env:` may say, and what they are.

Looking names up imports nothing heavy; :meth:`Entry.load` imports the object itself.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

from rllib_mec.errors import InputError, unknown_name


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One name: where its object lives ("package.module:attribute") and a line about it."""

    target: str
    summary: str

    def load(self) -> Any:
        """Imports and returns the object."""
        module, attribute = self.target.split(":")
        return getattr(importlib.import_module(module), attribute)


ALGORITHMS: dict[str, Entry] = {
    "HMPPO": Entry(
        "rllib_mec.hmppo:HMPPOConfig", "PPO actors that act in turn, one centralised critic"
    ),
    "IPPO": Entry("rllib_mec.baselines:IPPOConfig", "the same PPO, with a critic for each agent"),
    "SABPPO": Entry(
        "rllib_mec.sabppo:SABPPOConfig", "one PPO agent, a branch for each dimension of its action"
    ),
    "PPO": Entry(
        "ray.rllib.algorithms.ppo:PPOConfig",
        "RLlib's own PPO (the mec environment: turn_based or single_agent; fedpeat)",
    ),
    "DQN": Entry(
        "ray.rllib.algorithms.dqn:DQNConfig", "RLlib's own DQN (the mec-case-decision environment)"
    ),
    "random": Entry("rllib_mec.baselines:RandomConfig", "uniformly random actions"),
    "hold": Entry(
        "rllib_mec.baselines:HoldConfig",
        "always local (fedpeat: all UEs), highest useful retention, never change",
    ),
    "equal-shares": Entry(
        "rllib_mec.baselines:EqualSharesConfig",
        "fedpeat: all UEs, equal bandwidth, full power, the best fixed retention in hindsight",
    ),
    "server-alone": Entry(
        "rllib_mec.baselines:ServerAloneConfig", "fedpeat: the server tunes alone"
    ),
    "best-fixed": Entry(
        "rllib_mec.baselines:BestFixedConfig",
        "all on the server, or all local with one retention: the best for the episode in hindsight",
    ),
    "best-retention": Entry(
        "rllib_mec.baselines:BestRetentionConfig",
        "always local, each UE holds what is best for the episode, its draws known",
    ),
    "all-server": Entry(
        "rllib_mec.baselines:AllServerConfig", "always upload, train on the server"
    ),
    "greedy": Entry(
        "rllib_mec.baselines:GreedyConfig", "best joint action for this step's reward, state known"
    ),
    "greedy-observed": Entry(
        "rllib_mec.baselines:GreedyObservedConfig",
        "the same, the coming channels expected instead of known",
    ),
    "greedy-coordinate": Entry(
        "rllib_mec.baselines:GreedyCoordinateConfig",
        "UE after UE takes what is best for this step's reward, state known, any number of UEs",
    ),
}
"""What `run:` may name; each object is an ``AlgorithmConfig`` class."""

BOUNDS: dict[str, Entry] = {
    "oracle": Entry(
        "rllib_mec.bounds:upper_bound",
        "for `rllib evaluate` alone: what no policy's reward exceeds, all draws known",
    ),
}
"""What `rllib evaluate` scores besides algorithms; each object maps a scenario and an episode."""

ENVIRONMENTS: dict[str, Entry] = {
    "mec": Entry(
        "rllib_mec.envs:make_env", "mobile edge orchestration: case_decision and emulator_config"
    ),
    "mec-case-decision": Entry(
        "rllib_mec.envs:CaseDecisionEnv", "the case decision alone, one choice among 2^num_ues"
    ),
    "fedpeat": Entry(
        "rllib_mec.envs.fedpeat:FedPEATEnv", "federated tuning: who takes part, emulators, uplink"
    ),
    "mpe-spread": Entry(
        "rllib_mec.envs.mpe:spread", "mpe2's simple_spread_v3 in batches: N agents, N landmarks"
    ),
    "mpe-speaker-listener": Entry(
        "rllib_mec.envs.mpe:speaker_listener", "mpe2's simple_speaker_listener_v4 in batches"
    ),
}
"""What `env:` may name; each maps an env_config to a ``MultiAgentEnv`` or ``gymnasium.Env``."""


def algorithm(name: str) -> Any:
    """Returns the ``AlgorithmConfig`` class that ``name`` stands for.

    Raises:
        InputError: there is no such algorithm.
    """
    if name in BOUNDS:
        raise InputError(
            f"{name} is a bound, no algorithm: expected one of {', '.join(ALGORITHMS)}, or "
            f"`rllib evaluate {name}`"
        )
    if name not in ALGORITHMS:
        raise unknown_name("algorithm", name, ALGORITHMS)
    return ALGORITHMS[name].load()


def register() -> None:
    """Registers the environments with Ray Tune; calling it again changes nothing.

    Ray keeps such names per job, so that workers find them too.
    """
    from ray.tune.registry import register_env

    for name, entry in ENVIRONMENTS.items():
        register_env(name, entry.load())
