"""The orchestrator decides, from physical quantities, as the policy does in the environment."""

import dataclasses
import json
import math
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
from random_policies import OneAgent, policy_of

from rllib_mec.envs import BatchedMECEnv
from rllib_mec.envs.fedpeat import BatchedFedPEATEnv
from rllib_mec.errors import InputError
from rllib_mec.experiment import environments
from rllib_mec.experiment.checkpoints.policies import TeamPolicy
from rllib_mec.experiment.export.write import About, write_policy
from rllib_mec.orchestrator import Orchestrator
from rllib_mec.orchestrator.fedpeat import states_of_fedpeat
from rllib_mec.orchestrator.mec import states_of_mec

SHARED = {"entity_shared": True}
IN_TURN = {**SHARED, "case_head": "autoregressive"}
FIELD = {"scenario": "field", "num_ues": 4}
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


def orchestrator_of(folder, algorithm, env, env_config, training):
    """A random policy, and the orchestrator of its export."""
    policy = policy_of(algorithm, env, env_config, **training)
    scenario = environments.scenario(env, env_config)
    about = About(algorithm, {"name": env, "config": env_config}, scenario)
    write_policy(policy, about, folder / "exported")
    return policy, Orchestrator(folder / "exported")


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """An orchestrator for `field` with any number of UEs, and a valid state of four UEs."""
    folder = tmp_path_factory.mktemp("field")
    _, orchestrator = orchestrator_of(folder, "HMPPO", "mec", FIELD, SHARED)
    env = BatchedMECEnv(FIELD, 1)
    env.reset(3)
    return orchestrator, states_of_mec(env.simulator)[0]


def alike(one, other, tolerance=2e-5):
    """Whether two mappings are the same, numbers up to a tolerance."""
    assert set(one) == set(other)
    for name, value in one.items():
        if isinstance(value, float) and other[name] is not None:
            assert abs(value - other[name]) <= tolerance * max(1.0, abs(value)), (name, one, other)
        else:
            assert value == other[name], (name, one, other)
    return True


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


def test_states_of_unlike_sizes_are_decided_together(field):
    orchestrator, state = field
    ues = state["ues"]
    states = [{**state, "ues": each} for each in (ues, ues[:1], ues * 2, ues[:1], ues[::-1])]
    together = orchestrator.decide_all(states)
    for one, decided in zip(states, together, strict=True):
        alone = orchestrator.decide(one)
        for ours, theirs in zip(alone["ues"], decided["ues"], strict=True):
            assert alike(ours, theirs, 1e-6)
    assert orchestrator.decide_all([]) == []


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


def test_the_ends_of_a_range_may_be_off_by_a_rounding(field):
    orchestrator, state = field
    at_end = [{**ue, "cached_retention": float(np.float32(0.8))} for ue in state["ues"]]
    exactly = [{**ue, "cached_retention": 0.8} for ue in state["ues"]]
    assert orchestrator.decide({**state, "ues": at_end}) == orchestrator.decide(
        {**state, "ues": exactly}
    )
    with pytest.raises(InputError, match="cached_retention"):
        orchestrator.decide({**state, "ues": [{**ue, "cached_retention": 0.8001} for ue in at_end]})


def test_who_lacks_the_energy_trains_on_the_server(field):
    orchestrator, state = field
    empty = [{**ue, "battery_kj": 0.0, "active": True} for ue in state["ues"]]
    for decision in orchestrator.decide({**state, "ues": empty})["ues"]:
        assert decision == {"train": "server", "retention": None, "download_gb": 0.0}


def test_a_ue_without_a_task_needs_nothing_of_one(field):
    orchestrator, state = field
    idle = {
        key: state["ues"][1][key]
        for key in ("gain_db", "cached_retention", "memory_gb", "tflops", "battery_kj")
    }
    told = {**state, "ues": [state["ues"][0], {**idle, "active": False, "tokens": None}]}
    jsonschema.validate(told, orchestrator.schema()["state"])
    decided = orchestrator.decide(told)["ues"]
    told["ues"][1]["active"] = np.False_
    assert orchestrator.decide(told)["ues"] == decided
    assert decided[1] == {"train": None, "retention": None, "download_gb": 0.0}
    with pytest.raises(InputError, match=r"UE 1\.complexity is missing: expected a number in"):
        orchestrator.decide({**state, "ues": [state["ues"][0], {**idle, "active": True}]})


BAD = {
    "no mapping": (lambda s: [1], r"^state = \[1\]: expected a mapping with ues"),
    "no ues": (lambda s: {"tasks_left": 3}, "^ues is missing: expected a list"),
    "unknown key": (lambda s: s | {"tasks": 3}, "unknown key of the state 'tasks': did you mean"),
    "no tasks_left": (lambda s: {"ues": s["ues"]}, r"^tasks_left is missing: expected a whole num"),
    "tasks_left": (lambda s: s | {"tasks_left": 0}, r"^tasks_left = 0: expected .* in \[1, 50\]"),
    "half a task": (lambda s: s | {"tasks_left": 1.5}, r"^tasks_left = 1.5: expected a whole num"),
    "no list": (lambda s: s | {"ues": {"a": 1}}, r"^ues = {'a': 1}: expected a list"),
    "a text": (lambda s: s | {"ues": "abc"}, "^ues = 'abc': expected a list"),
    "nobody": (lambda s: s | {"ues": []}, "^ues has 0: expected one UE at least"),
    "too many": (lambda s: s | {"ues": [None] * 10_001}, "^ues has 10001: expected at most 10000"),
    "no UE": (lambda s: s | {"ues": [s["ues"][0], 5]}, "^UE 1 = 5: expected a mapping of gain_db"),
}
BAD_VALUES = {
    "gain_db": (1e-9, r"a number in \[-3000, .*\] dB"),
    "complexity": (31, r"a number in \[10, 30\]"),
    "data_mb": (float("nan"), r"a number in \[300, 500\] MB"),
    "cached_retention": (0.1, r"a number in \[0.2, 0.8\], or null for none"),
    "memory_gb": (1.0, "a number >= 1.08 GB"),
    "power_w": ("0.5", r"a number in \[0.2, 1\] W"),
    "tokens": (None, r"a number in \[100000, 600000\]"),
    "tflops": (True, r"a number in \[6, 24\] TFLOP/s"),
    "battery_kj": (10**400, r"a number in \[0, 180\] kJ"),
    "domain": (0.5, r"a whole number in \[0, 2\]"),
    "active": (1, "true or false"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_a_bad_state_is_one_line(field, case):
    change, expected = case
    orchestrator, state = field
    with pytest.raises(InputError, match=expected) as caught:
        orchestrator.decide(change(state))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_value_is_named_with_its_ue(field, name):
    orchestrator, state = field
    wrong, expected = BAD_VALUES[name]
    assert set(state["ues"][0]) == set(BAD_VALUES)

    def with_ue(**changes):
        return {**state, "ues": [*state["ues"][:2], state["ues"][2] | changes, state["ues"][3]]}

    for value in (wrong, float("inf"), [1], {}, "x" * 1000):
        with pytest.raises(
            InputError, match=rf"^UE 2\.{name} = .*: expected {expected}$"
        ) as caught:
            orchestrator.decide(with_ue(**{name: value}))
        assert len(str(caught.value)) < 200
    lacking = with_ue()
    del lacking["ues"][2][name]
    if name != "active":
        lacking["ues"][2]["active"] = True
    with pytest.raises(InputError, match=rf"^UE 2\.{name} is missing: expected {expected}$"):
        orchestrator.decide(lacking)
    with pytest.raises(InputError, match=rf"^UE 2: unknown field '{name}x': did you mean '{name}'"):
        orchestrator.decide(with_ue(**{f"{name}x": 1}))
    for bad in (with_ue(**{name: [1]}), lacking, with_ue(extra=1)):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, orchestrator.schema()["state"])


def test_a_fixed_number_of_ues_is_asked_for(tmp_path):
    _, orchestrator = orchestrator_of(tmp_path, "HMPPO", "mec", {"num_ues": 3}, {})
    env = BatchedMECEnv({"num_ues": 3}, 1)
    env.reset(0)
    state = states_of_mec(env.simulator)[0]
    assert len(orchestrator.decide(state)["ues"]) == 3
    with pytest.raises(InputError, match=r"^ues has 2: expected 3 UEs, as the policy has"):
        orchestrator.decide({"ues": state["ues"][:2]})
    assert orchestrator.schema()["state"]["properties"]["ues"]["minItems"] == 3


def test_it_decides_without_ray_and_torch(tmp_path, field):
    orchestrator, state = field
    directory = orchestrator.policy.directory
    (tmp_path / "state.json").write_text(json.dumps(state))
    code = (
        "import json, sys\n"
        "from rllib_mec.orchestrator import Orchestrator\n"
        f"state = json.load(open({str(tmp_path / 'state.json')!r}))\n"
        f"decided = Orchestrator({str(directory)!r}).decide(state)\n"
        "assert not {'ray', 'torch'} & set(sys.modules)\n"
        "print(json.dumps(decided))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == orchestrator.decide(state)


def test_other_environments_are_refused(tmp_path):
    policy = policy_of("HMPPO", OneAgent)
    write_policy(policy, About("HMPPO", {"name": "toy", "config": {}}), tmp_path / "exported")
    with pytest.raises(InputError, match="a policy of toy: expected one of mec or fedpeat"):
        Orchestrator(tmp_path / "exported")
