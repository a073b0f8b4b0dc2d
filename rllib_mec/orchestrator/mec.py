"""The environment ``mec``: where each UE trains its task, and on which emulator."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from rllib_mec.envs.agents import Agents
from rllib_mec.envs.agents import Orchestrator as OneAgent
from rllib_mec.orchestrator.fields import FLAG, ROUNDING, WHOLE, Field
from rllib_mec.orchestrator.system import Quantities, choice_field, db, gain_field, linear
from rllib_mec.system import Scenario, Simulator
from rllib_mec.system.compute import local_energy, training_work
from rllib_mec.system.emulator import most_retention, new_layers, read_retention
from rllib_mec.system.radio import Bools, Floats, path_gain
from rllib_mec.system.step import Situation
from rllib_mec.system.tasks import Devices, Tasks


class MEC:
    """``mec`` in all its forms but for ``turn_based``, as the orchestrator sees it.

    Args:
        scenario: that the policy was trained on. env_config: with the arrangement of agents.
    """

    decision: Mapping[str, Any] = {
        **choice_field(
            "train",
            "-",
            "where to train: local or server (there, too, whom its battery would not last); null: "
            "the UE has no task",
            "string",
        ),
        **choice_field("retention", "-", "share of the layers to train on locally", "number"),
        "download_gb": {"type": "number", "description": "of the emulator, before training, GB"},
    }

    def __init__(self, scenario: Scenario, env_config: Mapping[str, Any]) -> None:
        self.scenario = scenario
        self._agents = OneAgent if env_config.get("single_agent") else Agents
        self.fields = _fields(scenario)
        names = {field.name for field in self.fields}
        self.active = "active" if "active" in names else None
        self.of_all = _of_all(scenario)

    def system(self, num_ues: int) -> MECSystem:
        """Returns the environment with so many UEs."""
        return MECSystem(self._agents(dataclasses.replace(self.scenario, num_ues=num_ues)))


class MECSystem:
    """``mec`` with a number of UEs; see :class:`~rllib_mec.orchestrator.system.System`."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self.scenario = agents.scenario
        self.slots = agents.action_slots

    def observations(self, quantities: Quantities) -> dict[str, Any]:
        """Returns what each agent observes, (B, …)."""
        left = quantities.get("tasks_left", np.ones((1, 1)))
        return self._agents.lay_out(self._agents.numbers.of(self._situation(quantities), left))

    def decisions(
        self, quantities: Quantities, actions: Mapping[str, Any]
    ) -> list[list[dict[str, Any]]]:
        """Returns ``train``, ``retention`` and ``download_gb`` of each UE of each state."""
        situation = self._situation(quantities)
        cached, devices = situation.cached, situation.devices
        server, retention, keep = self._agents.read(actions, len(cached))
        chosen = read_retention(self.scenario, retention, keep, cached, devices.most_retention)
        server = server | self._forced(situation, chosen)
        cached = np.where(np.isclose(cached, chosen, rtol=ROUNDING, atol=0.0), chosen, cached)
        switch, share = new_layers(self.scenario, chosen, cached)
        active = situation.tasks.active
        local = ~server if active is None else ~server & active
        download = switch * share * self.scenario.model_size_gb
        trains = np.where(server, "server", "local").tolist()
        return [
            [
                {
                    "train": trains[b][ue] if active is None or active[b, ue] else None,
                    "retention": float(chosen[b, ue]) if local[b, ue] else None,
                    "download_gb": float(download[b, ue]) if local[b, ue] else 0.0,
                }
                for ue in range(cached.shape[1])
            ]
            for b in range(len(cached))
        ]

    def _forced(self, situation: Situation, retention: Floats) -> Bools:
        """Which UEs the system sends to the server: their batteries would not last."""
        energy, compute = self.scenario.energy, self.scenario.compute
        tokens, battery = situation.tasks.tokens, situation.battery_kj
        if energy is None or compute is None or tokens is None or battery is None:
            return np.zeros(retention.shape, bool)
        return local_energy(energy, retention, training_work(compute, tokens)) > battery

    def _situation(self, quantities: Quantities) -> Situation:
        """The quantities as the system has them; NaN for what no agent sees."""
        cached = quantities["cached_retention"]
        unseen = np.full(cached.shape, np.nan)
        domain, active = quantities.get("domain"), quantities.get("active")
        memory_gb = quantities.get("memory_gb")
        tasks = Tasks(
            gain=linear(quantities["gain_db"]),
            complexity=quantities["complexity"],
            data_mb=quantities["data_mb"],
            power_w=quantities.get("power_w", unseen),
            tokens=quantities.get("tokens"),
            domain=None if domain is None else domain.astype(np.intp),
            active=None if active is None else active.astype(bool),
        )
        most = None if memory_gb is None else most_retention(self.scenario, memory_gb)
        devices = Devices(tflops=quantities.get("tflops"), most_retention=most)
        return Situation(tasks, cached, devices, quantities.get("battery_kj"))


def states_of_mec(simulator: Simulator) -> list[dict[str, Any]]:
    """Returns the states of running systems, as the orchestrator takes them.

    It is what has been measured before the coming tasks, without noise.
    """
    scenario = simulator.scenario
    now = simulator.last_situation
    tasks, devices = now.tasks, now.devices
    found: dict[str, Any] = {
        "gain_db": db(tasks.gain),
        "complexity": tasks.complexity,
        "data_mb": tasks.data_mb,
        "cached_retention": now.cached,
        "power_w": tasks.power_w,
        "tokens": tasks.tokens,
        "tflops": devices.tflops,
        "battery_kj": now.battery_kj,
        "domain": tasks.domain,
        "active": tasks.active,
    }
    if devices.most_retention is not None:
        found["memory_gb"] = devices.most_retention * scenario.model_size_gb
    names = [field.name for field in _fields(scenario)]
    values = {name: found[name].tolist() for name in names}
    of_all = {field.name: max(scenario.num_tasks - simulator.t, 1) for field in _of_all(scenario)}
    return [
        of_all | {"ues": [{name: values[name][b][ue] for name in names} for ue in ues]}
        for b in range(simulator.num_envs)
        for ues in [range(scenario.num_ues)]
    ]


def _fields(scenario: Scenario) -> tuple[Field, ...]:
    """What is told of each UE: what agents see, and what their decisions mean."""
    low, high = scenario.retention
    best = path_gain(scenario, np.array(scenario.distance_m[0]))
    fields = [
        gain_field(float(best), "of the finished task"),
        _task("complexity", "-", "complexity of the coming task", scenario.complexity),
        _task("data_mb", "MB", "data of the coming task", scenario.data_size_mb),
        Field(
            name="cached_retention",
            unit="-",
            meaning="share of the layers in the emulator that the UE holds",
            low=low,
            high=high,
            nothing=True,
        ),
    ]
    if scenario.memory is not None:
        action = scenario.emulator_action
        least = scenario.layer_bounds[0] / scenario.num_layers if action == "layers" else low
        fields.append(
            Field(
                name="memory_gb",
                unit="GB",
                meaning="memory of the device, for the emulator",
                low=least * scenario.model_size_gb,
            )
        )
    if scenario.observation == "paper":
        return tuple(fields)
    fields.append(
        _task("power_w", "W", "uplink power for the coming task", scenario.uplink_power_w)
    )
    if scenario.compute is not None:
        speeds = scenario.compute.ue_tflops
        fields += [
            _task("tokens", "-", "tokens of the coming task", scenario.compute.tokens),
            Field(
                name="tflops",
                unit="TFLOP/s",
                meaning="speed of the device",
                low=min(speeds),
                high=max(speeds),
            ),
        ]
    if scenario.energy is not None:
        most = scenario.energy.battery_kj[1]
        fields.append(
            Field(name="battery_kj", unit="kJ", meaning="left in the battery", low=0, high=most)
        )
    if scenario.domains is not None:
        last = len(scenario.domains.levels) - 1
        fields.append(
            Field(
                name="domain",
                unit="-",
                meaning="index of the coming task's domain",
                low=0,
                high=last,
                kind=WHOLE,
                idle=last // 2,
            )
        )
    if scenario.arrivals is not None:
        fields.append(
            Field(name="active", unit="-", meaning="whether the UE has a task", kind=FLAG)
        )
    return tuple(fields)


def _of_all(scenario: Scenario) -> tuple[Field, ...]:
    if scenario.observation == "paper" or scenario.energy is None:
        return ()
    meaning = "tasks of each UE that its battery has to last for, the coming one included"
    return (
        Field(
            name="tasks_left",
            unit="-",
            meaning=meaning,
            low=1,
            high=scenario.num_tasks,
            kind=WHOLE,
        ),
    )


def _task(name: str, unit: str, meaning: str, bounds: tuple[float, float]) -> Field:
    """A quantity of a task; of a UE without one it is in the middle."""
    low, high = bounds
    return Field(name=name, unit=unit, meaning=meaning, low=low, high=high, idle=(low + high) / 2)
