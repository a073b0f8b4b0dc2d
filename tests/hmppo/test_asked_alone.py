"""An actor that RLlib asks by itself decides as it does in its team."""

import pytest
import torch
from learners import build
from ray.rllib.core.columns import Columns
from toy_memory import CUES, recall_config

from rllib_mec.hmppo.modules.recurrent import OWN

ENVS, STEPS = 6, 4


def team_and_observations(**model):
    config = recall_config().env_runners(observation_filter="MeanStdFilter")
    config.rl_module(model_config={"fcnet_hiddens": [8], "recurrent_size": 5, **model})
    team = build(config).module
    torch.manual_seed(1)
    for parameter in team["twins"].parameters():
        parameter.data += 2.0 * torch.randn(parameter.shape)
    twins = 3 + 2 * torch.randn(STEPS, ENVS, 2 * (CUES + 2))
    guest = torch.randn(STEPS, ENVS, 3 * CUES + 2)
    team["twins"].unwrapped().filter.track(twins)
    return team, [{"twins": twins[t], "guest": guest[t]} for t in range(STEPS)]


@pytest.mark.parametrize("layer", ["gru", "lstm"])
def test_with_a_memory_over_several_steps(layer):
    team, steps = team_and_observations(recurrent_layer=layer)
    memories = team.initial_memories(ENVS)
    taken = [
        team.act(observations, explore=False, memories=memories)[0]["twins"][:, 0]
        for observations in steps
    ]
    actor = team["twins"].unwrapped()
    left = torch.stack([own["twins"][:, : CUES + 2] for own in steps], dim=1)
    state = {name: own.expand(ENVS, -1) for name, own in actor.get_initial_state().items()}
    out = actor.forward_inference({Columns.OBS: left, Columns.STATE_IN: state})
    logits = out[Columns.ACTION_DIST_INPUTS]
    assert logits.shape == (ENVS, STEPS, CUES)
    form = actor.get_inference_action_dist_cls()
    actions = form.from_logits(logits.flatten(0, 1)).to_deterministic().sample()
    actions = actions.unflatten(0, (ENVS, STEPS))
    assert len(actions.unique()) > 1
    torch.testing.assert_close(actions.float(), torch.stack(taken, dim=1).float())
    remembered = memories["twins"].unflatten(-1, (2, -1))[:, 0]
    torch.testing.assert_close(out[Columns.STATE_OUT][OWN], remembered)
    assert out[Columns.STATE_OUT].keys() == state.keys()


def test_without_a_memory_observations_are_filtered_as_well():
    team, steps = team_and_observations()
    taken, _, _ = team.act(steps[0], explore=False)
    actor = team["twins"].unwrapped()
    for forward in (actor.forward_inference, actor.forward_exploration):
        out = forward({Columns.OBS: steps[0]["twins"][:, : CUES + 2]})
        actions = out[Columns.ACTION_DIST_INPUTS].argmax(-1)
        assert len(actions.unique()) > 1
        torch.testing.assert_close(actions.float(), taken["twins"][:, 0].float())
