"""`seeds` and `stack` in a file: what they mean, and what is refused before anything runs."""

import pytest

from rllib_mec.errors import InputError
from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.spec import make
from rllib_mec.hmppo.stacked.trainable import StackedTrial

FORM = {"run": "HMPPO", "env": "mec", "config": {"env_config": {"num_ues": 2}}}


def plan(**change):
    return prepare(make("exp", FORM | change))


def test_seeds_are_members_of_one_trial():
    made = plan(seeds=[0, 5])
    assert made.members == [{"seed": 0}, {"seed": 5}]
    assert issubclass(made.trainable, StackedTrial)
    assert made.num_trials == 1
    assert made.param_space["members"] == made.members


def test_settings_and_seeds_are_combined():
    made = plan(seeds=[0, 1], stack=[{"lr": 1e-3}, {"lr": 1e-4}], run="IPPO")
    expected = [(1e-3, 0), (1e-3, 1), (1e-4, 0), (1e-4, 1)]
    assert [(own["lr"], own["seed"]) for own in made.members] == expected


def test_a_grid_makes_stacks():
    made = plan(
        stack=[{"lambda": 0.9}, {"lambda": 1.0}],
        config=FORM["config"] | {"entity_shared": {"grid_search": [False, True]}},
    )
    assert made.members == [{"lambda_": 0.9}, {"lambda_": 1.0}]
    assert made.num_trials == 2


def test_without_them_a_trial_is_a_run():
    made = plan()
    assert made.members == []
    assert made.trainable.__name__ == "HMPPO"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": []}, "seeds = "),
        ({"seeds": [0.5]}, "seeds.0 = 0.5: expected a whole number"),
        ({"seeds": 3}, "seeds = 3"),
        ({"seeds": [1, 1]}, "seeds: seed_1 comes twice"),
        ({"stack": [{}], "seeds": None}, "stack: .*expected settings"),
        ({"stack": [{"lr": 1}, {"gamma": 1}]}, "stack: .*the same settings"),
        ({"stack": [{"num_epochs": 3}]}, "stack: .*num_epochs"),
        ({"stack": [{"gamma": 7.0}]}, "stack: gamma = 7.0: expected a number in"),
        ({"stack": [{"seed": 1}], "seeds": [1]}, "seed is set by seeds, too"),
        ({"seeds": [1], "config": FORM["config"] | {"seed": 3}}, "config.seed: is set by"),
        ({"seeds": [1], "run": "hold"}, "expected run: HMPPO, IPPO or SABPPO, not hold"),
        ({"seeds": [1], "config": FORM["config"] | {"batched": False}}, "sampled in batches"),
    ],
)
def test_what_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        plan(**change)


@pytest.mark.ray
def test_a_stack_from_the_command_line(ray_session, tmp_path, monkeypatch, rllib):
    (tmp_path / "f.yaml").write_text(
        """
exp:
  run: HMPPO
  env: mec
  seeds: [1, 2]
  stop: {num_env_steps_sampled_lifetime: 128}
  config:
    env_config: {num_ues: 2, num_tasks: 8}
    num_envs_per_env_runner: 8
    train_batch_size_per_learner: 64
    minibatch_size: 32
"""
    )

    monkeypatch.chdir(tmp_path)
    status, printed, errors = rllib("train", "file", "f.yaml")
    assert status == 0, errors
    assert "HMPPO on mec, a stack of 2" in printed
    assert "128/128 steps  2 x " in printed
    [checkpoint] = (tmp_path / "results" / "exp").glob("StackedTrial_*/checkpoint_000000")
    for name in ("seed_1", "seed_2"):
        assert f"  {name}: reward " in printed
        assert f"rllib evaluate {checkpoint / name}" in printed
    status, _, errors = rllib("evaluate", checkpoint)
    assert status == 2
    assert "expected a member of the stack, such as" in errors
    assert rllib("evaluate", checkpoint / "seed_2", "--episodes", 8)[0] == 0
