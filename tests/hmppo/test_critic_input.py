"""What a central critic sees: all observations, some of them, or the environment's state."""

import numpy as np
import pytest
import torch
from learners import batch_for, build, update
from ray.rllib.core.columns import Columns
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from toy_relay import BatchedRelay, Relay
from toy_teams import AGENTS, SIZES, CopyEnv, toy_config, toy_team

from rllib_mec.errors import InputError
from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.modules.critic_plan import STATE, CriticPlan
from rllib_mec.hmppo.sampling.env_state import state_size
from rllib_mec.hmppo.stacked import StackedTraining
from rllib_mec.hmppo.team_batch import TeamBatch


class Watched(Relay):
    """Its state is the number of the step, and what the porter sees last."""

    def observe(self):
        observations = super().observe()
        self.porter = observations["porter"][4]
        return observations

    def state(self):
        return np.array([[self.steps, self.porter]])


class BatchableWatched(Watched):
    def batched(self, num_envs):
        return BatchedWatched([Watched() for _ in range(num_envs)])


class BatchedWatched(BatchedRelay):
    def state(self):
        return np.stack([env.state() for env in self.envs])


class Unwatched(Watched):
    """Its batches have no state."""

    def batched(self, num_envs):
        return BatchedRelay([Watched() for _ in range(num_envs)])


def runner_of(env, **training):
    config = toy_config(env, **training).env_runners(num_envs_per_env_runner=2)
    config.validate()
    return config.env_runner_cls(config=config)


@pytest.mark.parametrize("env", [Watched, BatchableWatched, Unwatched])
@pytest.mark.parametrize("steps", [7, 10, 23])
def test_states_are_those_of_the_observations(env, steps):
    runner = runner_of(env, critic_input="state")
    assert type(runner).__name__.startswith("Batched") is (env is BatchableWatched)
    batches = []
    for _ in range(2):  # the second goes on where the first was cut
        samples = runner.sample(num_timesteps=2 * steps)
        if not isinstance(samples[0], TeamBatch):
            connector = EpisodesToTeamBatch(runner.module.team, with_states=True)
            samples = [connector(episodes=samples, batch={}, rl_module=None)[TEAM_BATCH]]
        batches += samples
    batch = TeamBatch.concatenate(batches)
    assert batch.states.shape == (len(batch), 2)
    np.testing.assert_array_equal(batch.states[:, 1], batch.observations["porter"][:, 4])
    np.testing.assert_array_equal(
        batch.final_states[:, 1], batch.final_observations["porter"][:, 4]
    )
    ends = batch.lengths.cumsum()
    for end, length, final in zip(ends, batch.lengths, batch.final_states, strict=True):
        first = batch.states[end - length, 0]
        counted = [*batch.states[end - length : end, 0], final[0]]
        assert counted == [first + k for k in range(length + 1)]
    part = batch[3:5]
    np.testing.assert_array_equal(part.states, batch.states[3:5])
    np.testing.assert_array_equal(part.final_states, batch.states[5:6])


def test_a_critic_of_the_state_sees_nothing_else():
    config = toy_config(BatchableWatched, critic_input="state")
    ours, theirs = build(config), build(config)
    assert ours.plan.input_shape("central_critic") == (2,)
    batches = []
    for seed in (0, 1):  # other observations and actions, the same states and rewards
        batch = batch_for(ours, seed)
        first = batch_for(ours, 0)
        batch.rewards, batch.terminated = first.rewards, first.terminated
        draw = np.random.default_rng(5)
        batch.states = draw.normal(size=(len(batch), 2)).astype(np.float32)
        batch.final_states = draw.normal(size=(len(batch.lengths), 2)).astype(np.float32)
        batches.append(batch)
    for learner, batch in zip((ours, theirs), batches, strict=True):
        update(learner, batch)
    states = [own.module["central_critic"].unwrapped().state_dict() for own in (ours, theirs)]
    torch.testing.assert_close(*states)
    actors = [own.module["porter"].unwrapped().state_dict() for own in (ours, theirs)]
    assert any(not torch.equal(actors[0][name], actors[1][name]) for name in actors[0])


def test_some_agents_observations_with_what_is_known_of_their_slots():
    plan = CriticPlan("decision_point", toy_team(), False, seen=("tail", "leader"))
    assert plan.critics == {"central_critic": AGENTS}
    assert plan.input_shape("central_critic") == (SIZES["tail"] + SIZES["leader"] + 3,)
    observations = {a: torch.full((1, n), 2.0) for a, n in SIZES.items()}
    inputs = plan.inputs("central_critic", observations)
    # tail's slots: leader at 1, 2, 3 and painter at 5, 0; then leader, then the point.
    assert inputs[0].tolist() == [
        [0, 0, 0, 0, 2, 0, 2, 2, 2, 1, 0, 0],
        [0, 2, 2, 2, 2, 0, 2, 2, 2, 0, 1, 0],
        [2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 1],
    ]


def test_one_value_of_a_state_serves_all_points():
    plan = CriticPlan("decision_point", toy_team(), False, state_size=4)
    states = torch.randn(5, 4)
    assert torch.equal(plan.inputs("central_critic", {STATE: states}), states[:, None])
    assert plan.num_points == 1
    assert {a: plan.baseline_point(a) for a in AGENTS} == dict.fromkeys(AGENTS, 0)
    assert not plan.bootstraps_from_actions
    assert not CriticPlan("joint_state", toy_team(), False, state_size=4).bootstraps_from_actions


@pytest.mark.parametrize(
    ("env", "training", "message"),
    [
        (CopyEnv, {"critic_input": "states"}, "unknown critic_input 'states': did you mean"),
        (CopyEnv, {"critic_input": ["leder"]}, "unknown agent in critic_input 'leder': did you"),
        (
            CopyEnv,
            {"critic_input": 3},
            "critic_input = 3: expected one of observations",
        ),
        (CopyEnv, {"critic_input": []}, r"critic_input = \[\]: expected one agent or more"),
        (CopyEnv, {"critic_input": ["tail", "tail"]}, "expected one agent or more, each once"),
        (CopyEnv, {"critic_input": "state"}, r"a method state\(\), CopyEnv has none"),
        (CopyEnv, {"critic_input": ["tail"], "critic": "separate"}, "expected 'observations' with"),
        (Watched, {"critic_input": "state", "critic": "separate"}, "expected 'observations' with"),
        (Watched, {"critic_input": "state", "batched": True}, "no method batched"),
        (
            Unwatched,
            {"critic_input": "state", "batched": True},
            r"batches have no method state\(\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(env, training, message):
    with pytest.raises(InputError, match=message):
        toy_config(env, **training).validate()


def test_recordings_hold_no_states(tmp_path):
    config = toy_config(Watched, critic_input="state").offline_data(output=str(tmp_path))
    with pytest.raises(InputError, match=r"critic_input = 'state': expected no output"):
        config.validate()


def test_the_state_of_a_pettingzoo_environment():
    from mpe2 import simple_spread_v3

    env = ParallelPettingZooEnv(simple_spread_v3.parallel_env(N=3))
    assert state_size(env) == 3 * 18


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("critic_input", ["state", ["porter", "twins"]], ids=["state", "some"])
@pytest.mark.parametrize("env", [Watched, BatchableWatched])
def test_critics_of_states_and_of_some_agents_learn(build_algorithm, env, critic_input):
    config = toy_config(env, critic_input=critic_input, gamma=0.0, lr=1e-2, num_epochs=8)
    config.env_runners(num_envs_per_env_runner=8)
    config.training(train_batch_size_per_learner=240, minibatch_size=60)
    algorithm = build_algorithm(config)
    losses = [algorithm.train()["learners"]["central_critic"]["vf_loss"] for _ in range(12)]
    if critic_input == "state":  # which tells the step, and so the reward; 1 would be by no input
        assert losses[-1] < 0.15
    assert np.isfinite(losses).all()
    restored = build_algorithm(config)
    restored.set_state(algorithm.get_state())
    inputs = torch.randn(4, 1, *algorithm.config.critic_plan().input_shape("central_critic"))
    values = [
        own.learner_group._learner.module["central_critic"].compute_values({Columns.OBS: inputs})
        for own in (algorithm, restored)
    ]
    assert torch.equal(*values)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_a_stack_has_states_too():
    config = toy_config(BatchableWatched, critic_input="state")
    stack = StackedTraining(config, [{"seed": 3}, {"seed": 4}])
    try:
        results = stack.train()
    finally:
        stack.stop()
    assert all(
        np.isfinite(own["learners"]["central_critic"]["vf_loss"]) for own in results.values()
    )


@pytest.fixture
def build_algorithm(ray_session):
    made = []

    def make(config):
        made.append(config.copy(copy_frozen=False).build_algo())
        return made[-1]

    yield make
    for own in made:
        own.stop()
