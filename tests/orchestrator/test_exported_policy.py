"""An exported policy decides as the torch policy does, whatever its networks and actions."""

import json
import shutil
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from random_policies import (
    Choosers,
    Kinds,
    OneAgent,
    OneWatcher,
    Parties,
    Watchers,
    policy_of,
)
from safetensors.torch import load_file

from rllib_mec.errors import InputError
from rllib_mec.experiment.checkpoints.policies import TeamPolicy
from rllib_mec.experiment.export.write import AGREEMENT, About, disagreement, write_policy
from rllib_mec.orchestrator import ExportedPolicy, Orchestrator

SHARED = {"entity_shared": True}
IN_TURN = {**SHARED, "case_head": "autoregressive"}
FIELD = {"scenario": "field", "num_ues": 4}
CASES = {
    "every kind of action": ("HMPPO", Kinds, {}, {}),
    "a linear policy": ("HMPPO", Kinds, {}, {"model": {"fcnet_hiddens": []}}),
    "groups": ("HMPPO", Parties, {}, {"observation_filter": True}),
    "choices in turn": ("HMPPO", Choosers, {}, IN_TURN),
    "entities that choose at once": ("IPPO", Choosers, {}, SHARED | {"observation_filter": True}),
    "branches": ("SABPPO", OneAgent, {}, {"observation_filter": True}),
    "no branches": ("SABPPO", OneAgent, {}, {"model": {"branch_width": 0}}),
    "mec": ("HMPPO", "mec", {}, {}),
    "mec, keep": ("IPPO", "mec", {"emulator_action": "keep_or_retention"}, SHARED),
    "mec, one agent": ("HMPPO", "mec", {"single_agent": True, **FIELD}, SHARED),
    "mec, branches by entity": ("SABPPO", "mec", {"single_agent": True, **FIELD}, SHARED),
    "mec, decentralised": ("HMPPO", "mec", {"decentralised": True, **FIELD}, SHARED),
    "field": ("HMPPO", "mec", FIELD, IN_TURN | {"observation_filter": True}),
    "fedpeat": ("SABPPO", "fedpeat", {}, {}),
    "fedpeat, four agents": ("HMPPO", "fedpeat", {"agents": 4, "num_ues": 3}, IN_TURN),
    "fedpeat, three agents": ("IPPO", "fedpeat", {"agents": 3, "num_ues": 3}, SHARED),
    "a memory, every kind of action": ("HMPPO", Kinds, {}, {"model": {"recurrent_layer": "lstm"}}),
    "a memory, groups": (
        "IPPO",
        Parties,
        {},
        {"model": {"recurrent_layer": "gru", "recurrent_size": 8}, "observation_filter": True},
    ),
    "images": ("HMPPO", Watchers, {}, {}),
    "images, branches": ("SABPPO", OneWatcher, {}, {"model": {"conv_filters": [[4, 3, 2]]}}),
    "images, a memory": ("HMPPO", Watchers, {}, {"model": {"recurrent_layer": "gru"}}),
    **{
        name: ("HMPPO", Choosers, {}, IN_TURN | {"model": {"fcnet_activation": name}})
        for name in ("elu", "gelu", "relu", "silu", "tanh")
    },
}


def export(tmp_path, policy, **about):
    """Writes a policy and loads it again; the largest difference comes along."""
    about = {"algorithm": "HMPPO", "environment": {"name": "toy", "config": {}}, **about}
    difference = write_policy(policy, About(**about), tmp_path / "exported")
    return ExportedPolicy(tmp_path / "exported"), difference


def observations_of(team, rows, seed=1):
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for agent in team.agents:
        size = team.observation_size(agent)
        found[agent] = torch.randn(rows, size, generator=generator)
        for positions in team.slots.get(agent, {}).values():
            found[agent][:, list(positions)] = 0.0
    return found


def flat(team, actions):
    return np.concatenate([team.codecs[a].flatten(actions[a]) for a in team.agents], axis=-1)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_agents_together_decide_as_in_evaluation(tmp_path, case):
    algorithm, env, env_config, training = case
    policy = policy_of(algorithm, env, env_config, **training)
    exported, difference = export(tmp_path, policy)
    assert difference <= AGREEMENT
    team = policy.team
    evaluated, memories = TeamPolicy(policy), exported.initial_memories(400)
    evaluated.begin(400)
    for step in range(3 if memories else 1):
        observations = observations_of(team, 400, seed=step)
        theirs = evaluated.act(None, observations)
        ours = exported.decide(
            {agent: seen.numpy() for agent, seen in observations.items()}, memories=memories
        )
        assert list(ours) == list(team.agents)
        np.testing.assert_allclose(
            flat(team, ours), flat(team, theirs), rtol=AGREEMENT, atol=AGREEMENT
        )
        # Most entries are not the same in all rows: there is something to agree on.
        assert (flat(team, theirs).std(axis=0) > 0).mean() > 0.7
    for agent, remembered in memories.items():
        evaluated_ones = evaluated._memories[agent].numpy()
        assert evaluated_ones.std() > 0.01
        np.testing.assert_allclose(remembered, evaluated_ones, rtol=AGREEMENT, atol=AGREEMENT)


def test_a_policy_with_a_memory_asks_for_it(tmp_path):
    policy = policy_of("HMPPO", Kinds, model={"recurrent_layer": "gru"})
    exported, _ = export(tmp_path, policy)
    observations = {a: seen.numpy() for a, seen in observations_of(policy.team, 2).items()}
    with pytest.raises(InputError, match="first remembers what was before: expected memories"):
        exported.decide(observations)
    with pytest.raises(InputError, match="memories of first have 192 numbers: expected 2 x 64"):
        exported.decide(observations, memories=exported.initial_memories(3))
    assert not any(own.any() for own in exported.initial_memories(2).values())


def test_the_orchestrator_refuses_a_memory(tmp_path):
    model = {"recurrent_layer": "gru"}
    policy = policy_of("HMPPO", "mec", {"decentralised": True, "num_ues": 2}, model=model)
    environment = {"name": "mec", "config": {"num_ues": 2}}
    export(tmp_path, policy, environment=environment)
    with pytest.raises(InputError, match="a policy that remembers what was before"):
        Orchestrator(tmp_path / "exported")


def test_actions_have_the_form_of_their_spaces(tmp_path):
    policy = policy_of("HMPPO", Kinds)
    exported, _ = export(tmp_path, policy)
    observations = {a: o.numpy() for a, o in observations_of(policy.team, 3).items()}
    actions = exported.decide(observations)
    for agent, space in Kinds.action_spaces.items():
        for row in range(3):
            picked = _row(actions[agent], row)
            # Discrete's members are scalars.
            assert space.contains(picked), (agent, picked)


def _row(action, row):
    if isinstance(action, dict):
        return {key: _row(own, row) for key, own in action.items()}
    if isinstance(action, tuple):
        return tuple(_row(own, row) for own in action)
    return action[row]


@pytest.mark.parametrize("training", [SHARED, IN_TURN], ids=["factorised", "autoregressive"])
def test_entities_may_be_any_number(tmp_path, training):
    trained = policy_of("HMPPO", "mec", {"scenario": "field", "num_ues": 4}, **training)
    exported, _ = export(tmp_path, trained)
    for count in (1, 7, 40):
        other = policy_of("HMPPO", "mec", {"scenario": "field", "num_ues": count}, **training)
        for agent in other.team.agents:
            other[agent].load_state_dict(trained[agent].state_dict())
        observations = observations_of(other.team, 50, seed=count)
        theirs = TeamPolicy(other).act(None, observations)
        found = {agent: seen.numpy() for agent, seen in observations.items()}
        ours = exported.decide(found, other.team.slots)
        np.testing.assert_allclose(
            flat(other.team, ours), flat(other.team, theirs), rtol=AGREEMENT, atol=AGREEMENT
        )


def test_equal_entities_choose_as_they_lie(tmp_path):
    policy = policy_of("HMPPO", Choosers, **IN_TURN)
    exported, _ = export(tmp_path, policy)
    observations = observations_of(policy.team, 30)
    # By this number they choose: the same for two pairs of entities.
    observations["choosers"].unflatten(-1, (4, 3))[:, :, 1] = torch.tensor([1.0, 2.0, 1.0, 2.0])
    theirs = TeamPolicy(policy).act(None, observations)
    ours = exported.decide({agent: seen.numpy() for agent, seen in observations.items()})
    np.testing.assert_array_equal(ours["choosers"], theirs["choosers"])


def test_the_weights_are_the_policys(tmp_path):
    policy = policy_of("HMPPO", "mec", FIELD, observation_filter=True, **IN_TURN)
    export(tmp_path, policy)
    weights = load_file(tmp_path / "exported" / "weights.safetensors")
    again = policy_of("HMPPO", "mec", FIELD, observation_filter=True, **IN_TURN)
    names = set()
    for agent in policy.team.agents:
        own = {n.removeprefix(f"{agent}."): v for n, v in weights.items() if n.startswith(agent)}
        for value in again[agent].parameters():
            torch.nn.init.zeros_(value)
        again[agent].load_state_dict(own)
        for name, value in policy[agent].state_dict().items():
            assert torch.equal(again[agent].state_dict()[name], value)
            names.add(f"{agent}.{name}")
    assert set(weights) == names


def test_the_spec_says_what_it_is(tmp_path):
    policy = policy_of("HMPPO", "mec", FIELD, observation_filter=True, **IN_TURN)
    about = {"environment": {"name": "mec", "config": FIELD}, "trained": {"training_iteration": 3}}
    exported, _ = export(tmp_path, policy, **about)
    spec = json.loads((tmp_path / "exported" / "spec.json").read_text())
    assert spec["format"] == 1
    assert spec["environment"] == about["environment"]
    assert spec["trained"] == {"training_iteration": 3}
    assert {"python", "rllib_mec", "ray", "torch", "numpy", "onnx"} <= set(spec["versions"])
    case, emulator = spec["actors"]
    assert (case["agent"], emulator["agent"]) == policy.team.agents  # who decides first
    assert emulator["sees"] == {
        "case_decision": list(policy.team.slots["emulator_config"]["case_decision"])
    }
    assert case["action_space"]["nvec"] == [2] * 4
    assert emulator["action_space"]["low"] == pytest.approx(0.2)
    assert case["network"]["fcnet_hiddens"] == [16, 12]
    assert case["network"]["autoregressive"]
    assert case["observation_filter"]["count"] == 500
    assert spec["num_entities"] == 4
    assert exported.spec.any_number
    assert set(spec["files"]) == {
        "case_decision.onnx",
        "emulator_config.onnx",
        "weights.safetensors",
    }


def test_the_check_sees_a_policy_that_is_another_one(tmp_path):
    policy = policy_of("HMPPO", Kinds)
    exported, _ = export(tmp_path, policy)
    for agent in policy.team.agents:
        bias = policy[agent].network.last.bias
        with torch.no_grad():
            bias[0] += 0.5
            assert disagreement(policy, exported) > AGREEMENT, agent
            bias[0] -= 0.5
    assert disagreement(policy, exported) <= AGREEMENT


def test_nothing_is_written_over(tmp_path):
    policy = policy_of("HMPPO", OneAgent)
    export(tmp_path, policy)
    with pytest.raises(InputError, match="exported: expected a directory that is not there yet"):
        export(tmp_path, policy)


def test_bounds_that_differ_among_entities_are_refused(tmp_path):
    class Uneven(Choosers):
        action_spaces = Choosers.action_spaces | {
            "others": gym.spaces.Box(
                np.zeros(4, np.float32), np.array([1, 2, 3, 4], np.float32), dtype=np.float32
            )
        }

    policy = policy_of("HMPPO", Uneven, **SHARED)
    with pytest.raises(InputError, match="expected the same bounds for all 4 entities"):
        export(tmp_path, policy)
    assert not (tmp_path / "exported").exists()


def test_a_filter_that_changes_slots_is_refused(tmp_path):
    policy = policy_of("HMPPO", Parties, observation_filter=True)
    policy["porters"].filter.track(torch.ones(100, 6))
    with pytest.raises(InputError, match="observation_filter of porters: expected slots"):
        export(tmp_path, policy)


def test_it_runs_without_ray_and_torch(tmp_path):
    policy = policy_of("HMPPO", Choosers, **IN_TURN)
    export(tmp_path, policy)
    observations = {a: o.numpy() for a, o in observations_of(policy.team, 5).items()}
    np.savez(tmp_path / "seen.npz", **observations)
    code = (
        "import sys, numpy as np\n"
        "from rllib_mec.orchestrator import ExportedPolicy, Orchestrator\n"
        f"seen = dict(np.load({str(tmp_path / 'seen.npz')!r}))\n"
        f"actions = ExportedPolicy({str(tmp_path / 'exported')!r}).decide(seen)\n"
        "assert not {'ray', 'torch'} & set(sys.modules)\n"
        "print(actions['choosers'].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    expected = TeamPolicy(policy).act(
        None, {a: torch.as_tensor(o) for a, o in observations.items()}
    )
    assert json.loads(done.stdout) == expected["choosers"].tolist()


def test_damaged_directories_are_one_line(tmp_path):
    export(tmp_path, policy_of("HMPPO", OneAgent))
    directory = tmp_path / "exported"

    def refused(expected, change):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(directory, copy)
        change(copy)
        with pytest.raises(InputError, match=expected) as caught:
            ExportedPolicy(copy)
        assert "\n" not in str(caught.value)

    def with_spec(change):
        def edit(copy):
            content = json.loads((copy / "spec.json").read_text())
            change(content)
            (copy / "spec.json").write_text(json.dumps(content))

        return edit

    refused("expected a directory of rllib export", lambda copy: (copy / "spec.json").unlink())
    refused("spec.json: damaged", lambda copy: (copy / "spec.json").write_text("{"))
    refused("format = 2: expected 1", with_spec(lambda spec: spec.update(format=2)))
    refused("spec.json: damaged", with_spec(lambda spec: spec["actors"][0].pop("form")))
    for damaged in (
        *({"environment": None}, {"environment": {}}, {"files": None}, {"files": 3}),
        *({"actors": []}, {"scenario": 3}, {"num_entities": -1}, {"versions": []}),
    ):
        refused("spec.json: damaged", with_spec(lambda spec, to=damaged: spec.update(to)))
    for damaged in (
        *({"form": "triples"}, {"inputs": "x"}, {"leaves": []}, {"file": None}),
        *({"agent": 3}, {"memory": -1}),
    ):
        refused(
            "spec.json: damaged", with_spec(lambda spec, to=damaged: spec["actors"][0].update(to))
        )
    refused("spec.json: damaged", lambda copy: (copy / "spec.json").write_text("[" * 100_000))
    refused("one.onnx: takes", with_spec(lambda spec: spec["actors"][0].update(inputs=8)))
    refused("files lack one.onnx", with_spec(lambda spec: spec["files"].pop("one.onnx")))
    refused(
        "expected files beside it",
        with_spec(lambda spec: spec["files"].update({"../x": spec["files"]["one.onnx"]})),
    )
    refused("one.onnx: No such file", lambda copy: (copy / "one.onnx").unlink())
    refused("one.onnx: damaged", lambda copy: (copy / "one.onnx").write_bytes(b"x"))
    with pytest.raises(InputError, match="nowhere: expected a directory of rllib export"):
        ExportedPolicy(tmp_path / "nowhere")


def test_observations_are_checked(tmp_path):
    exported, _ = export(tmp_path, policy_of("HMPPO", OneAgent))
    with pytest.raises(InputError, match=r"expected one's"):
        exported.decide({})
    with pytest.raises(InputError, match="observations of one have 8 numbers: expected 9"):
        exported.decide({"one": np.zeros((2, 8))})
    for shape in ((), (9,), (0, 9)):
        with pytest.raises(InputError, match=r"observations of one have shape .*: expected .B, "):
            exported.decide({"one": np.zeros(shape)})
    for ragged in ("text", [[1], [1, 2]]):
        with pytest.raises(InputError, match="observations of one: expected numbers"):
            exported.decide({"one": ragged})
    with pytest.raises(InputError, match="observations of one are not all finite"):
        exported.decide({"one": np.full((2, 9), np.nan)})
    with pytest.raises(InputError, match="unknown agent 'onee': did you mean 'one'"):
        exported.decide_alone("onee", np.zeros((2, 9)))


def test_observations_are_as_many_of_each_agent(tmp_path):
    directory = tmp_path / "exported"
    policy = policy_of("HMPPO", "mec", {"num_ues": 3})
    write_policy(policy, About("HMPPO", {"name": "mec", "config": {}}, None), directory)
    exported = ExportedPolicy(directory)
    spaces = policy.team.observation_spaces
    rows = {agent: np.zeros((1, *space.shape)) for agent, space in spaces.items()}
    assert exported.decide(rows)
    last = list(rows)[-1]
    with pytest.raises(InputError, match="expected as many of each agent"):
        exported.decide({**rows, last: np.repeat(rows[last], 3, axis=0)})
