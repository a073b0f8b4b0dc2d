"""Search spaces: recognition, checks, and that Tune's result is what the setters would set."""

import pytest
from ray.tune.search.variant_generator import generate_variants

from rllib_mec.errors import InputError
from rllib_mec.experiment import search_space
from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.search_space import Space
from rllib_mec.experiment.settings import apply
from rllib_mec.experiment.spec import make
from rllib_mec.hmppo.sampling.callbacks import EpisodeMetrics


def test_find_looks_into_mappings_and_lists():
    value = {
        "lr": {"grid_search": [1, 2]},
        "env_config": {"a": {"b": {"uniform": [0, 1]}}, "uniform": [0, 1], "c": 1},
        "layers": [{"choice": [8, 16]}, 32],
    }
    found = search_space.find(value)
    assert set(found) == {("lr",), ("env_config", "a", "b"), ("layers", 0)}
    assert found["lr",] == Space("grid_search", [1, 2])


@pytest.mark.parametrize("kind", sorted(search_space.KINDS))
def test_every_kind_is_one_of_tunes(kind):
    step = [1] if kind.startswith("q") else []
    arguments = [4, 8] if kind in ("grid_search", "choice") else [4, 8, *step]
    space = Space(kind, arguments)
    space.check("here")
    drawn = space.to_tune()
    if kind == "grid_search":
        assert drawn == {"grid_search": [4, 8]}
    else:
        values = {drawn.sample() for _ in range(50)}
        assert "randn" in kind or all(4 <= value <= 8 for value in values)
        assert len(values) > 1
    assert space.candidates()


@pytest.mark.parametrize(
    "space",
    [
        Space("grid_search", []),
        Space("grid_search", 3),
        Space("choice", [1, {"uniform": [0, 1]}]),
        Space("uniform", [1, 0]),
        Space("uniform", [0, 1, 2]),
        Space("uniform", ["0", 1]),
        Space("uniform", [False, True]),
        Space("loguniform", [0, 1]),
        Space("quniform", [0, 1]),
        Space("quniform", [0, 1, 0]),
        Space("randint", [0.5, 2]),
        Space("randn", [0, -1]),
    ],
)
def test_arguments_that_make_no_space(space):
    with pytest.raises(InputError, match=rf"config.lr.{space.kind} = .*: expected "):
        space.check("config.lr")


def test_variants_hold_every_candidate_once_and_no_product():
    spaces = {("a",): Space("grid_search", [1, 2, 3]), ("b",): Space("uniform", [0, 1])}
    variants = search_space.variants(spaces)
    assert {v["a",] for v in variants} == {1, 2, 3}
    assert {v["b",] for v in variants} == {0.0, 1.0}
    assert len(variants) == 4
    assert search_space.grid_size(spaces) == 3
    assert search_space.variants({}) == [{}]


def test_fill_leaves_the_original_alone():
    value = {"a": [{"choice": [1]}], "b": 2}
    assert search_space.fill(value, {("a", 0): 5}) == {"a": [5], "b": 2}
    assert value == {"a": [{"choice": [1]}], "b": 2}


def test_what_tune_resolves_is_what_the_setters_set():
    """Also for settings that RLlib keeps under another name, or inside another mapping."""
    config = {
        "gamma": 0.9,
        "lr": {"grid_search": [1e-3, 1e-4]},
        "lambda": {"grid_search": [0.9]},
        "train_batch_size_per_learner": {"grid_search": [256]},
        "minibatch_size": 64,
        "model_config": {"fcnet_hiddens": {"grid_search": [[8], [16]]}, "vf_share_layers": False},
        "env_config": {"render_mode": {"grid_search": ["rgb_array"]}},
        "evaluation_interval": {"grid_search": [3]},
        "evaluation_config": {"explore": False},
    }
    plan = prepare(make("x", {"run": "PPO", "env": "CartPole-v1", "config": config}))
    assert plan.num_trials == 4
    seen = set()
    for _, resolved in generate_variants(plan.param_space):
        in_trial = type(plan.configs[0])().update_from_dict(resolved)
        lr, hidden = in_trial.lr, in_trial.model_config["fcnet_hiddens"]
        seen.add((lr, *hidden))
        by_setters = type(plan.configs[0])().environment(env="CartPole-v1")
        by_setters.callbacks([EpisodeMetrics])  # as prepare does, whatever the environment
        values = config | {
            "lr": lr,
            "lambda": 0.9,
            "train_batch_size_per_learner": 256,
            "model_config": {"fcnet_hiddens": hidden, "vf_share_layers": False},
            "env_config": {"render_mode": "rgb_array"},
            "evaluation_interval": 3,
        }
        apply(by_setters, values)
        assert in_trial.to_dict() == by_setters.to_dict()
        assert in_trial.train_batch_size_per_learner == 256
        assert in_trial.lambda_ == 0.9
    assert seen == {(1e-3, 8), (1e-3, 16), (1e-4, 8), (1e-4, 16)}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"lr": {"grid_search": [1e-3, "a"]}}, "config.lr = 'a': expected a number"),
        ({"lr": {"grid_search": []}}, r"config.lr.grid_search = \[\]: expected"),
        ({"gama": {"grid_search": [0.9]}}, "did you mean 'gamma'"),
        ({"grid_search": [1]}, "a search space stands below a setting"),
        ({"minibatch_size": {"randint": [64, 9000]}}, "`minibatch_size` .8999. must be <="),
        (
            {"env_config": {"render_mode": {"choice": [None, "nonsense"]}, "a": 1}},
            "env CartPole-v1 cannot be made",
        ),
    ],
)
def test_each_candidate_is_checked(config, message):
    with pytest.raises(InputError, match=message):
        prepare(make("x", {"run": "PPO", "env": "CartPole-v1", "config": config}))
