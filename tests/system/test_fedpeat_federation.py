"""Episodes of FedPEAT: draws, batches, metrics, scenarios, and that no fixed policy is the best."""

import dataclasses
import pickle

import numpy as np
import pytest
from made_up_profiles import write

from rllib_mec.errors import InputError
from rllib_mec.system.fedpeat import METRICS, Decision, Federation, FedPEATScenario, carry_out
from rllib_mec.system.fedpeat.round import speed, training_work

SMALL = FedPEATScenario(num_ues=3, num_rounds=5)


def decide(federation, rng):
    shape = federation.cached.shape
    return Decision(
        rng.random(shape) < 0.5,
        rng.uniform(0.2, 0.8, shape),
        rng.uniform(-1, 1, shape),
        rng.uniform(0.2, 1, shape),
    )


def test_environment_k_of_a_batch_is_the_same_in_any_batch():
    many, few = Federation(SMALL, 4), Federation(SMALL, 2)
    many.reset(7), few.reset(7)
    for field in dataclasses.fields(few.episode):
        ours, theirs = (getattr(f.episode, field.name) for f in (many, few))
        axis = 0 if ours.ndim == 2 else 1
        np.testing.assert_array_equal(ours.take([0, 1], axis), theirs, err_msg=field.name)
    rng = np.random.default_rng(0)
    while not many.done:
        decision = decide(many, rng)
        outcome = many.step(decision)
        other = few.step(decision.take(slice(2)))
        np.testing.assert_allclose(outcome.reward[:2], other.reward, rtol=1e-12)
    for name, values in few.episode_metrics().items():
        np.testing.assert_allclose(many.episode_metrics()[name][:2], values, rtol=1e-12)


def test_a_seed_gives_the_same_episodes_and_none_gives_others():
    federation = Federation(SMALL, 2)
    federation.reset(3)
    first = federation.episode.gain
    federation.reset()
    assert (federation.episode.gain != first).all()
    federation.reset(3)
    np.testing.assert_array_equal(federation.episode.gain, first)


def test_metrics_are_of_the_rounds():
    federation, rng = Federation(SMALL, 2), np.random.default_rng(1)
    federation.reset(0)
    outcomes = []
    while not federation.done:
        outcomes.append(federation.step(decide(federation, rng)))
    metrics = federation.episode_metrics()
    assert tuple(metrics) == METRICS
    expected = {
        "reward": sum(o.reward for o in outcomes),
        "log_delay": np.mean([np.log(o.round_delay_s) for o in outcomes], axis=0),
        "exchanges": sum(o.exchanged.sum(axis=1) for o in outcomes),
        "perplexity": np.mean([o.perplexity for o in outcomes], axis=0),
    }
    for name, values in expected.items():
        assert metrics[name] == pytest.approx(values), name
    with pytest.raises(InputError, match=r"round 6 of 5: expected reset"):
        federation.step(decide(federation, rng))


def test_where_the_reward_counts_energy_it_is_a_metric():
    federation = Federation(FedPEATScenario.of("fedpeat-energy", num_rounds=2))
    federation.reset(0)
    outcome = federation.step(decide(federation, np.random.default_rng(0)))
    assert federation.episode_metrics()["energy_kj"] == pytest.approx(outcome.energy_kj.sum(axis=1))


def test_draws_have_the_distributions_that_the_scenario_says():
    scenario = FedPEATScenario(num_ues=20, num_rounds=100)
    federation = Federation(scenario, 50)
    federation.reset(0)
    episode = federation.episode
    assert episode.busy.mean() == pytest.approx(0.3, abs=0.02)
    # A device that stays, or is drawn anew and happens to be the same.
    same = (episode.busy[1:] == episode.busy[:-1]).mean()
    assert same == pytest.approx(0.7 + 0.3 * (0.3**2 + 0.7**2), abs=0.02)
    assert set(np.unique(episode.tflops)) == {6.0, 12.0, 24.0}
    assert sorted(set(episode.most_retention.ravel().round(9))) == [0.4, 0.6, 0.8]
    assert episode.tokens.min() >= 1e5
    assert episode.tokens.max() <= 3e5


def test_no_fixed_policy_is_the_best():
    """A policy that looks at who is busy, and no more, has more reward than all that do not."""
    scenario = FedPEATScenario()
    federation = Federation(scenario, 150)
    shape = federation.cached.shape
    everybody, nobody = np.ones(shape, bool), np.zeros(shape, bool)

    def play(select, retention):
        federation.reset(1)
        while not federation.done:
            chosen = Decision(
                select(federation.situation),
                np.full(shape, retention),
                np.zeros(shape),
                np.ones(shape),
            )
            federation.step(chosen)
        return federation.episode_metrics()["reward"]

    fixed = {e: play(lambda s: everybody, e) for e in scenario.emulators}
    fixed["none"] = play(lambda s: nobody, 0.8)
    fixed |= {
        f"fast {speed}": play(lambda s, v=speed: s.tflops >= v, 0.8) for speed in (12.0, 24.0)
    }
    idle = play(lambda s: ~s.busy | (s.cached == 0), 0.8)
    for name, rewards in fixed.items():
        gain = idle - rewards  # in the same episodes
        assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain)), name


def test_curves_may_be_measured(tmp_path):
    path = write(tmp_path / "profile.parquet")
    scenario = FedPEATScenario.of({"quality": {"profile": path}, "num_rounds": 2})
    again = FedPEATScenario.of(scenario.to_dict())
    assert again == scenario
    assert pickle.loads(pickle.dumps(scenario)) == scenario
    federation = Federation(scenario)
    federation.reset(0)
    situation, chosen = federation.situation, decide(federation, np.random.default_rng(0))
    fitted = carry_out(dataclasses.replace(scenario, quality=None), situation, chosen)
    assert carry_out(scenario, situation, chosen).perplexity != fitted.perplexity


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"retention": [0.8, 0.2]}, r"fedpeat.retention = \[0.8, 0.2\]: expected low <= high"),
        ({"num_emulators": 1}, "num_emulators = 1: expected 0, or 2 at least"),
        ({"ue_memory_gb": [1.0]}, r"ue_memory_gb = \[1.0\]: expected at least 1.08"),
        ({"exchange_weight": 1.0}, "exchange_weight = 1.0: expected a number <= 0"),
        ({"fading": "none"}, "fading_correlation = 0.9: expected 0 with fading 'none'"),
        ({"perplexity_coefficients": [0.0, -10.0, 5.0]}, "expected f"),
        ({"num_round": 3}, "did you mean 'num_rounds'"),
        ("fedpeet", "did you mean 'fedpeat'"),
    ],
)
def test_what_makes_no_sense_is_one_line(source, message):
    with pytest.raises(InputError, match=message):
        FedPEATScenario.of(source)


def test_a_file_holds_a_scenario(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("base: fedpeat-energy\nname: own\nnum_ues: 2\n", encoding="utf-8")
    scenario = FedPEATScenario.of(str(path), num_rounds=3)
    assert (scenario.name, scenario.num_ues, scenario.num_rounds) == ("own", 2, 3)
    assert scenario.energy_weight_per_kj < 0


def test_channels_remember_and_training_takes_what_it_says():
    scenario = FedPEATScenario(num_ues=10, num_rounds=60)
    federation = Federation(scenario, 100)
    federation.reset(0)
    gain = federation.episode.gain / federation.episode.gain.mean(axis=0)
    before, now = gain[:-1].ravel(), gain[1:].ravel()
    assert np.corrcoef(before, now)[0, 1] == pytest.approx(0.81, abs=0.08)
    now = federation.situation
    idle = training_work(scenario, now.tokens) / now.tflops
    taken = training_work(scenario, now.tokens) / speed(scenario, now)
    assert taken == pytest.approx(np.where(now.busy, 4 * idle, idle))
