"""The orchestrator decides, from physical quantities, as the policy does in the environment."""

import dataclasses
import math

import jsonschema
import numpy as np
import pytest
from random_orchestrators import FIELD, IN_TURN, SHARED, alike, orchestrator_of
from random_policies import policy_of

from rllib_mec.envs import BatchedMECEnv
from rllib_mec.envs.fedpeat import BatchedFedPEATEnv
from rllib_mec.experiment.checkpoints.policies import TeamPolicy
from rllib_mec.orchestrator.fedpeat import states_of_fedpeat
from rllib_mec.orchestrator.mec import states_of_mec

MEC = {
    "published": ("HMPPO", {"num_ues": 3}, {}),
    "keep": ("IPPO", {"emulator_action": "keep_or_retention"}, SHARED),
    "layers, full": ("HMPPO", {"emulator_action": "layers", "observation": "full"}, SHARED),
    "paper, memory": ("HMPPO", {"memory": True, "model_size_gb": 5.4}, SHARED),
    "field": ("HMPPO", FIELD, IN_TURN),
    "field, one agent": ("SABPPO", {**FIELD, "single_agent": True}, SHARED),
    "field, decentralised": ("HMPPO", {**FIELD, "decentralised": True}, {}),
    "field, layers": ("HMPPO", {**FIELD, "emulator_action": "layers"}, SHARED),
    "field without energy": ("HMPPO", {**FIELD, "energy": False, "arrivals": False}, SHARED),
    "field without devices": ("IPPO", {**FIELD, "compute": False, "memory": False}, SHARED),
}


FEDPEAT = {
    "one agent": ("SABPPO", {"num_ues": 3}, {}),
    "any emulator": ("SABPPO", {"num_ues": 3, "num_emulators": 0}, SHARED),
    "three agents": ("HMPPO", {"num_ues": 3, "agents": 3}, SHARED),
    "four agents": ("HMPPO", {"num_ues": 3, "agents": 4}, IN_TURN),
}


ENVS = 6


def measured_of_mec(simulator, env):
    """The state of one environment, written out by hand."""
    scenario, t = simulator.scenario, simulator.t
    tasks, devices = simulator.episode.tasks, simulator.episode.devices
    gain = simulator.episode.first_gain if t == 0 else tasks.gain[t - 1]
    full = scenario.observation == "full"
    ues = []
    for ue in range(scenario.num_ues):
        at = (t, env, ue)
        told = {
            "gain_db": 10 * math.log10(gain[env, ue]),
            "complexity": tasks.complexity[at],
            "data_mb": tasks.data_mb[at],
            "cached_retention": simulator.cached[env, ue] or None,
        }
        if scenario.memory is not None:
            told["memory_gb"] = devices.most_retention[env, ue] * scenario.model_size_gb
        if full:
            told["power_w"] = tasks.power_w[at]
        if full and scenario.compute is not None:
            told |= {"tokens": tasks.tokens[at], "tflops": devices.tflops[env, ue]}
        if full and scenario.energy is not None:
            told["battery_kj"] = simulator.battery_kj[env, ue]
        if full and scenario.domains is not None:
            told["domain"] = int(tasks.domain[at])
        if full and scenario.arrivals is not None:
            told["active"] = bool(tasks.active[at])
        ues.append(told)
    left = {"tasks_left": max(scenario.num_tasks - t, 1)}
    return {"ues": ues, **(left if full and scenario.energy is not None else {})}


@pytest.mark.parametrize("case", MEC.values(), ids=MEC)
def test_it_decides_in_mec_as_the_policy_does(tmp_path, case):
    algorithm, env_config, training = case
    policy, orchestrator = orchestrator_of(tmp_path, algorithm, "mec", env_config, training)
    env = BatchedMECEnv(env_config, ENVS)
    scenario, simulator = env.scenario, env.simulator
    schemas = orchestrator.schema()
    observations, done = env.reset(11), False
    kinds = set()
    while not done:
        states = [measured_of_mec(simulator, b) for b in range(ENVS)]
        if simulator.t in (0, 7):
            jsonschema.validate(states, {"type": "array", "items": schemas["state"]})
            for ours, theirs in zip(states, states_of_mec(simulator), strict=True):
                assert ours.get("tasks_left") == theirs.get("tasks_left")
                for one, other in zip(ours["ues"], theirs["ues"], strict=True):
                    other["cached_retention"] = other["cached_retention"] or None
                    assert alike(one, other, 1e-12)
        actions = TeamPolicy(policy).act(env, observations)
        active = simulator.tasks.active
        before = simulator.cached, simulator.battery_kj
        decided = orchestrator.decide_all(states)
        jsonschema.validate(decided, {"type": "array", "items": schemas["decision"]})
        observations, _, _, done = env.step(actions)
        outcome = step_again(scenario, simulator, *before, actions, env)
        for b in range(ENVS):
            for ue, decision in enumerate(decided[b]["ues"]):
                if active is not None and not active[b, ue]:
                    expected = {"train": None, "retention": None, "download_gb": 0.0}
                else:
                    expected = outcome(b, ue)
                kinds.add((decision["train"], decision["download_gb"] > 0))
                assert alike(decision, expected)
    assert {("server", False), ("local", True)} <= kinds


def step_again(scenario, simulator, cached, battery, actions, env):
    """Returns what each UE has done, where its battery was enough, as the system carried it out."""
    tasks = simulator.episode.task(simulator.t - 1)
    situation = dataclasses.replace(
        simulator.situation, tasks=tasks, cached=cached, battery_kj=battery
    )
    from rllib_mec.system.step import step

    outcome = step(scenario, situation, *env.agents.read(actions, ENVS))

    def of(b, ue):
        if outcome.server[b, ue]:
            return {"train": "server", "retention": None, "download_gb": 0.0}
        retention = outcome.retention[b, ue]
        share = retention
        if scenario.emulator_download == "missing":
            share = retention - cached[b, ue]
        downloaded = share * scenario.model_size_gb if outcome.downloads[b, ue] else 0.0
        return {"train": "local", "retention": retention, "download_gb": downloaded}

    return of


@pytest.mark.parametrize("case", FEDPEAT.values(), ids=FEDPEAT)
def test_it_decides_in_fedpeat_as_the_policy_does(tmp_path, case):
    algorithm, env_config, training = case
    policy, orchestrator = orchestrator_of(tmp_path, algorithm, "fedpeat", env_config, training)
    env = BatchedFedPEATEnv(env_config, ENVS)
    federation, schemas = env.federation, orchestrator.schema()
    observations, done = env.reset(5), False
    while not done:
        now = federation.last_situation
        states = [
            {
                "ues": [
                    {
                        "gain_db": 10 * math.log10(now.gain[b, ue]),
                        "cached_retention": now.cached[b, ue] or None,
                        "memory_gb": now.most_retention[b, ue] * env.scenario.model_size_gb,
                        "tokens": now.tokens[b, ue],
                        "tflops": now.tflops[b, ue],
                        "busy": now.busy[b, ue],
                    }
                    for ue in range(env.scenario.num_ues)
                ]
            }
            for b in range(ENVS)
        ]
        assert orchestrator.decide_all(states) == orchestrator.decide_all(
            states_of_fedpeat(federation)
        )
        decided = orchestrator.decide_all(states)
        jsonschema.validate(decided, {"type": "array", "items": schemas["decision"]})
        actions = TeamPolicy(policy).act(env, observations)
        chosen = env.agents.read(actions, ENVS)
        before = federation.situation
        observations, _, _, done = env.step(actions)
        from rllib_mec.system.fedpeat import carry_out

        outcome = carry_out(env.scenario, before, chosen)
        for b in range(ENVS):
            for ue, decision in enumerate(decided[b]["ues"]):
                selected = chosen.selected[b, ue]
                retention, exchanged = outcome.retention[b, ue], outcome.exchanged[b, ue]
                expected = {
                    "selected": selected,
                    "retention": retention if selected else None,
                    "uplink_share": outcome.share[b, ue] if selected else None,
                    "power_w": chosen.power_w[b, ue] if selected else None,
                    "download_gb": exchanged * retention * env.scenario.model_size_gb,
                }
                assert alike(decision, expected)
            shares = [ue["uplink_share"] or 0.0 for ue in decided[b]["ues"]]
            assert sum(shares) == pytest.approx(1.0 if chosen.selected[b].any() else 0.0)


@pytest.mark.parametrize("count", [1, 9, 40])
def test_it_decides_for_any_number_of_ues(tmp_path, count):
    trained, orchestrator = orchestrator_of(tmp_path, "HMPPO", "mec", FIELD, IN_TURN)
    assert orchestrator.num_ues is None
    more = {**FIELD, "num_ues": count}
    policy = policy_of("HMPPO", "mec", more, **IN_TURN)
    for agent in policy.team.agents:
        policy[agent].load_state_dict(trained[agent].state_dict())
    env = BatchedMECEnv(more, ENVS)
    observations = env.reset(2)
    for _ in range(10):
        decided = orchestrator.decide_all(states_of_mec(env.simulator))
        actions = TeamPolicy(policy).act(env, observations)
        server = env.agents.read(actions, ENVS)[0]
        active = env.simulator.tasks.active
        trains = np.array([[ue["train"] for ue in each["ues"]] for each in decided])
        expected = np.where(active, np.where(server, "server", "local"), None)
        np.testing.assert_array_equal(trains, expected)
        observations, *_ = env.step(actions)


@pytest.mark.parametrize(
    ("env", "case"),
    [("mec", MEC["field"]), ("mec", MEC["published"]), ("fedpeat", FEDPEAT["any emulator"])],
    ids=["missing layers", "whole emulators", "fedpeat"],
)
def test_an_emulator_kept_in_float32_is_the_same_one(tmp_path, env, case):
    """A device that keeps what was decided with less precision downloads nothing for it."""
    algorithm, env_config, training = case
    _, orchestrator = orchestrator_of(tmp_path, algorithm, env, env_config, training)
    if env == "mec":
        batch = BatchedMECEnv(env_config, 20)
        batch.reset(0)
        states = states_of_mec(batch.simulator)
    else:
        batch = BatchedFedPEATEnv(env_config, 20)
        batch.reset(0)
        states = states_of_fedpeat(batch.federation)

    def kept(precision):
        """What is decided once the UEs hold what was decided for them again and again."""
        held = states
        for _ in range(6):
            decided = orchestrator.decide_all(held)
            held = [
                {
                    **state,
                    "ues": [
                        {**ue, "cached_retention": precision(each["retention"] or 0.2)}
                        for ue, each in zip(state["ues"], before["ues"], strict=True)
                    ],
                }
                for state, before in zip(states, decided, strict=True)
            ]
        return [ue for each in orchestrator.decide_all(held) for ue in each["ues"]]

    exactly, roughly = kept(float), kept(np.float32)
    for one, other in zip(exactly, roughly, strict=True):
        assert alike(one, other)
        assert (one["download_gb"] > 0) == (other["download_gb"] > 0)
    assert any(one["retention"] and not one["download_gb"] for one in exactly)
