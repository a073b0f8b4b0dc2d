"""The environment ``fedpeat``: who takes part in a round, on which emulator, and how it sends."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from rllib_mec.envs.fedpeat.agents import FedPEATAgents
from rllib_mec.orchestrator.fields import FLAG, ROUNDING, Field
from rllib_mec.orchestrator.system import Quantities, choice_field, db, gain_field, linear
from rllib_mec.system.fedpeat import Federation, FedPEATScenario, Situation
from rllib_mec.system.fedpeat.episode import most_retention
from rllib_mec.system.fedpeat.round import bandwidth_shares, emulator_for
from rllib_mec.system.radio import path_gain


class FedPEAT:
    """``fedpeat`` with one, three or four agents, as the orchestrator sees it.

    Args:
        scenario: that the policy was trained on. env_config: with the number of agents.
    """

    of_all: tuple[Field, ...] = ()
    active = None
    decision: Mapping[str, Any] = {
        "selected": {"type": "boolean", "description": "whether the UE takes part in the round"},
        **choice_field("retention", "-", "share of the layers to train on", "number"),
        **choice_field("uplink_share", "-", "share of the uplink's bandwidth", "number"),
        **choice_field("power_w", "W", "uplink power", "number"),
        "download_gb": {"type": "number", "description": "of the emulator, before training, GB"},
    }

    def __init__(self, scenario: FedPEATScenario, env_config: Mapping[str, Any]) -> None:
        self.scenario = scenario
        self._agents = env_config.get("agents", 1)
        self.fields = _fields(scenario)

    def system(self, num_ues: int) -> FedPEATSystem:
        """Returns the environment with so many UEs."""
        scenario = dataclasses.replace(self.scenario, num_ues=num_ues)
        return FedPEATSystem(FedPEATAgents(scenario, self._agents))


class FedPEATSystem:
    """``fedpeat`` with a number of UEs; see :class:`~rllib_mec.orchestrator.system.System`."""

    def __init__(self, agents: FedPEATAgents) -> None:
        self._agents = agents
        self.scenario = agents.scenario
        self.slots = agents.action_slots

    def observations(self, quantities: Quantities) -> dict[str, Any]:
        """Returns what each agent observes, (B, …)."""
        return self._agents.lay_out(self._agents.numbers.of(self._situation(quantities)))

    def decisions(
        self, quantities: Quantities, actions: Mapping[str, Any]
    ) -> list[list[dict[str, Any]]]:
        """Returns what is decided of each UE of each state; null where a UE takes no part."""
        now, scenario = self._situation(quantities), self.scenario
        decided = self._agents.read(actions, len(now.cached))
        selected = decided.selected
        retention = emulator_for(scenario, decided.retention, now.most_retention)
        share = bandwidth_shares(scenario, selected, decided.bandwidth)
        held = np.isclose(retention, now.cached, rtol=ROUNDING, atol=0.0)
        exchanged = selected & ~held
        download = exchanged * retention * scenario.model_size_gb
        used = {"retention": retention, "uplink_share": share, "power_w": decided.power_w}
        return [
            [
                {
                    "selected": bool(selected[b, ue]),
                    **{
                        name: float(values[b, ue]) if selected[b, ue] else None
                        for name, values in used.items()
                    },
                    "download_gb": float(download[b, ue]),
                }
                for ue in range(selected.shape[1])
            ]
            for b in range(len(selected))
        ]

    def _situation(self, quantities: Quantities) -> Situation:
        """The quantities as the system has them."""
        return Situation(
            gain=linear(quantities["gain_db"]),
            busy=quantities["busy"].astype(bool),
            tokens=quantities["tokens"],
            tflops=quantities["tflops"],
            most_retention=most_retention(self.scenario, quantities["memory_gb"]),
            cached=quantities["cached_retention"],
        )


def states_of_fedpeat(federation: Federation) -> list[dict[str, Any]]:
    """Returns the states of running federations, as the orchestrator takes them."""
    scenario, now = federation.scenario, federation.last_situation
    values = {
        "gain_db": db(now.gain),
        "cached_retention": now.cached,
        "memory_gb": now.most_retention * scenario.model_size_gb,
        "tokens": now.tokens,
        "tflops": now.tflops,
        "busy": now.busy,
    }
    found = {name: each.tolist() for name, each in values.items()}
    return [
        {"ues": [{name: found[name][b][ue] for name in found} for ue in range(scenario.num_ues)]}
        for b in range(federation.num_envs)
    ]


def _fields(scenario: FedPEATScenario) -> tuple[Field, ...]:
    low, high = scenario.retention
    best = path_gain(scenario, np.array(scenario.distance_m[0]))
    return (
        gain_field(float(best), "of the round before"),
        Field(
            name="cached_retention",
            unit="-",
            meaning="share of the layers in the emulator that the UE holds",
            low=low,
            high=high,
            nothing=True,
        ),
        Field(
            name="memory_gb",
            unit="GB",
            meaning="memory of the device, for the emulator",
            low=low * scenario.model_size_gb,
        ),
        Field(
            name="tokens",
            unit="-",
            meaning="tokens of the UE's data",
            low=scenario.tokens[0],
            high=scenario.tokens[1],
        ),
        Field(
            name="tflops",
            unit="TFLOP/s",
            meaning="speed of the device when it does nothing else",
            low=min(scenario.ue_tflops),
            high=max(scenario.ue_tflops),
        ),
        Field(
            name="busy",
            unit="-",
            meaning="whether the device does other things in the coming round",
            kind=FLAG,
        ),
    )
