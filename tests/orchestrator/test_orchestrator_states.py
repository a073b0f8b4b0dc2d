"""What the orchestrator takes for a state, and the one line for what is none."""

import json
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
from random_orchestrators import FIELD, SHARED, alike, orchestrator_of
from random_policies import OneAgent, policy_of

from rllib_mec.envs import BatchedMECEnv
from rllib_mec.errors import InputError
from rllib_mec.experiment.export.write import About, write_policy
from rllib_mec.orchestrator import Orchestrator
from rllib_mec.orchestrator.mec import states_of_mec


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """An orchestrator for `field` with any number of UEs, and a valid state of four UEs."""
    folder = tmp_path_factory.mktemp("field")
    _, orchestrator = orchestrator_of(folder, "HMPPO", "mec", FIELD, SHARED)
    env = BatchedMECEnv(FIELD, 1)
    env.reset(3)
    return orchestrator, states_of_mec(env.simulator)[0]


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
