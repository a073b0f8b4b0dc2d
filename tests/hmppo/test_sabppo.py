"""SABPPO as an algorithm: it learns, is saved and loaded, and refuses what it cannot do."""

import numpy as np
import pytest
from toy_branches import Mirror, branching_config
from toy_teams import CopyEnv

from rllib_mec.envs.fedpeat import ORCHESTRATOR
from rllib_mec.errors import InputError
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.stacked import StackedTraining
from rllib_mec.registry import register
from rllib_mec.sabppo import SABPPOConfig
from rllib_mec.system.fedpeat import METRICS

FEDPEAT = {"num_ues": 2, "num_rounds": 8}


@pytest.mark.ray
@pytest.mark.parametrize("ratio", ["joint", "branch"])
def test_every_branch_learns(build, ratio):
    config = branching_config(ratio=ratio, train_batch_size_per_learner=256, gamma=0.0, lr=1e-2)
    config.training(minibatch_size=64, num_epochs=6)
    algorithm = build(config)
    for _ in range(25):
        results = algorithm.train()
    metrics = results["env_runners"]["episode_metrics"]
    assert metrics["reward"] / 8 > 0.8


@pytest.mark.ray
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("entity_shared", [False, True], ids=["mlp", "entities"])
def test_it_trains_on_fedpeat_in_batches_and_by_episodes(build, batched, entity_shared):
    config = branching_config("fedpeat", FEDPEAT, batched=batched, entity_shared=entity_shared)
    results = build(config).train()
    assert set(results["env_runners"]["episode_metrics"]) == set(METRICS)
    assert np.isfinite(results["learners"][ORCHESTRATOR]["policy_loss"])


@pytest.mark.ray
def test_saved_and_loaded_it_is_the_same_policy(build, tmp_path):
    first = build(branching_config("fedpeat", FEDPEAT))
    first.train()
    path = first.save_to_path(str(tmp_path / "checkpoint"))
    second = build(branching_config("fedpeat", FEDPEAT).debugging(seed=7))
    second.restore_from_path(path)
    ours, theirs = (a.learner_group.get_weights()[ORCHESTRATOR] for a in (first, second))
    assert any("branches" in name for name in ours)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])


@pytest.mark.ray
def test_seeds_are_stacked(build):
    config = branching_config("fedpeat", FEDPEAT)
    alone = build(config)  # seed 1
    stack = StackedTraining(branching_config("fedpeat", FEDPEAT), [{"seed": 0}, {"seed": 1}])
    try:
        stack.train(), alone.train()
        ours, theirs = (
            algorithm.learner_group.get_weights()[ORCHESTRATOR]
            for algorithm in (stack.algorithms["seed_1"], alone)
        )
        for name, array in theirs.items():
            np.testing.assert_allclose(ours[name], array, rtol=1e-3, atol=1e-5, err_msg=name)
    finally:
        stack.stop()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (lambda: branching_config(CopyEnv), "leader, painter, tail: expected one agent"),
        (lambda: branching_config("fedpeat", {"agents": 4}), "expected one agent with SABPPO"),
        (lambda: branching_config(model={"branch_width": -1}), "branch_width = -1: expected"),
        (lambda: branching_config(model={"branch_wide": 1}), "did you mean 'branch_width'"),
        (lambda: branching_config(model={"fcnet_hiddens": []}), "for the trunk"),
        (lambda: branching_config(ratio="branches"), "did you mean 'branch'"),
        (
            lambda: branching_config(case_head="autoregressive", entity_shared=True),
            "expected 'factorised' with SABPPO",
        ),
    ],
)
def test_what_it_cannot_do_is_one_line(config, message):
    register()
    with pytest.raises(InputError, match=message) as error:
        config().validate()
    assert "\n" not in str(error.value)


def test_it_is_hmppo_but_for_the_actor_and_the_ratio():
    configs = [c().environment(Mirror) for c in (SABPPOConfig, HMPPOConfig)]
    for config in configs:
        config.validate()
    ours, theirs = (config.to_dict() for config in configs)
    differences = {key for key in ours if str(ours[key]) != str(theirs[key])}
    assert differences - {"_rl_module_spec", "policies", "class"} == {"ratio"}
