"""Action masks: forbidden choices have the probability 0, everywhere, and nothing else changes."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_masks import ACTIONS, OBSERVATIONS, Locks, bits
from toy_teams import box

from rllib_mec.errors import InputError
from rllib_mec.hmppo import Team
from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.action_mask import ActionMask
from rllib_mec.hmppo.distributions import ActionDistribution
from rllib_mec.hmppo.modules.actor import Actor

NETWORK = {
    "fcnet_hiddens": [8],
    "fcnet_activation": "tanh",
    "initial_log_std": 0.0,
    "num_entities": None,
    "observation_filter": False,
}
LARGEST = 1 - 2.0**-24
"""The largest number that torch.rand gives."""


def actor_of(actions, mask, features=2, **config):
    space = gym.spaces.Dict({"action_mask": mask, "observations": box(features)})
    torch.manual_seed(0)
    actor = Actor(observation_space=space, action_space=actions, model_config=NETWORK | config)
    torch.nn.init.normal_(actor.network.last.weight)
    return actor


def seen(features, mask):
    return torch.cat([features, torch.as_tensor(mask, dtype=torch.float32)], dim=-1)


@pytest.mark.parametrize(
    ("agent", "given", "flat"),
    [
        ("key", [0, 1, 1, 0], [0, 1, 1, 0]),
        ("bolts", [1, 0, 0, 0, 1], [1, 0, 0, 0, 1]),
        ("lamps", [0, 1, 0], [1, 0, 1, 1, 1, 0]),
        (
            "porter",
            {"go": [0, 1], "pick": [[1, 0, 1], [0, 0, 1]]},
            [0, 1, 1, 0, 1, 0, 0, 1],
        ),
    ],
)
def test_a_mask_comes_last_in_the_flat_observation(agent, given, flat):
    codec = Team.of_env(Locks()).observation_codecs[agent]
    space = OBSERVATIONS[agent]
    key = next(key for key in space.spaces if key != "action_mask")
    observation = space.sample() | {"action_mask": given}
    row = codec.flatten_one(observation)
    features = gym.spaces.flatten(space[key], observation[key])
    np.testing.assert_array_equal(row, np.concatenate([features, flat]))
    assert codec.num_features == len(features)


@pytest.mark.parametrize(
    ("actions", "mask", "message"),
    [
        (gym.spaces.Discrete(3), bits(4), "expected 3 entries, one for each choice of Discrete"),
        (gym.spaces.MultiDiscrete([2, 3]), bits(2), "expected 5 entries"),
        (gym.spaces.MultiBinary(3), bits(4), "expected 6 entries"),
        (box(2), bits(2), "expected none, .* has no choices"),
        (gym.spaces.Discrete(3), gym.spaces.Discrete(3), "expected Box or MultiBinary"),
        (ACTIONS["porter"], gym.spaces.Dict({"go": bits(2)}), r"expected 6 entries.*\['pick'\]"),
        (
            ACTIONS["porter"],
            gym.spaces.Dict({"go": bits(2), "pick": bits(6), "share": bits(1)}),
            r"expected nothing at \['share'\]",
        ),
    ],
)
def test_masks_that_do_not_fit_are_refused(actions, mask, message):
    space = gym.spaces.Dict({"action_mask": mask, "observations": box(1)})
    with pytest.raises(InputError, match=rf"^observation space of ann\['action_mask'\].*{message}"):
        Team(("ann",), {"ann": space}, {"ann": actions})


def test_a_mask_beside_something_else_is_refused():
    space = gym.spaces.Dict({"action_mask": bits(2), "place": box(1), "speed": box(1)})
    message = r"ann has 'action_mask' beside \['place', 'speed'\]: expected 'observations'"
    with pytest.raises(InputError, match=message):
        Team(("ann",), {"ann": space}, {"ann": gym.spaces.Discrete(2)})


def test_slots_are_no_place_of_a_mask():
    space = gym.spaces.Dict({"action_mask": bits(2), "observations": box(2)})
    actions = dict.fromkeys("ab", gym.spaces.Discrete(2))
    with pytest.raises(InputError, match=r"action_slots\[b\]\[a\] = \(2,\): expected positions"):
        Team(("a", "b"), dict.fromkeys("ab", space), actions, slots={"b": {"a": (2,)}})


def test_log_probabilities_by_hand():
    """Logits 1, 2, 3 without the second; coins with logit 0.5 that must be 1, 0, or either."""
    actor = actor_of(gym.spaces.Discrete(3), bits(3))
    last = actor.network.last
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    distribution = actor.distribution(seen(torch.zeros(1, 2), [[1, 0, 1]]))
    total = math.exp(1) + math.exp(3)
    p, q = math.exp(1) / total, math.exp(3) / total
    for action, expected in ((0.0, math.log(p)), (2.0, math.log(q))):
        assert distribution.log_prob(torch.tensor([[action]])).item() == pytest.approx(expected)
    assert distribution.entropy().item() == pytest.approx(-p * math.log(p) - q * math.log(q))
    assert distribution.mode().item() == 2
    other = ActionDistribution(actor.codec, torch.tensor([[2.0, -1e9, 2.0]]))
    assert distribution.kl(other).item() == pytest.approx(p * math.log(2 * p) + q * math.log(2 * q))

    coins = actor_of(gym.spaces.MultiBinary(3), bits(3, 2))
    with torch.no_grad():
        coins.network.last.weight.zero_()
        coins.network.last.bias.fill_(0.5)
    distribution = coins.distribution(seen(torch.zeros(1, 2), [[0, 1, 1, 0, 1, 1]]))
    p = 1 / (1 + math.exp(-0.5))
    for third, expected in ((1.0, math.log(p)), (0.0, math.log(1 - p))):
        action = torch.tensor([[1.0, 0.0, third]])
        assert distribution.log_prob(action).item() == pytest.approx(expected)
    assert distribution.entropy().item() == pytest.approx(
        -p * math.log(p) - (1 - p) * math.log(1 - p)
    )
    assert distribution.mode().tolist() == [[1, 0, 1]]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(2, 4), min_size=1, max_size=3),
    st.data(),
    st.floats(0.01, 100),
    st.integers(0, 2**31),
)
def test_forbidden_choices_are_never_drawn(nvec, data, scale, seed):
    """Whatever the logits, at the ends of the noise, too; nor are they the mode."""
    masks = [data.draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(any)) for n in nvec]
    actor = actor_of(gym.spaces.MultiDiscrete(nvec), bits(sum(nvec)))
    with torch.no_grad():
        actor.network.last.weight.mul_(scale)
    generator = torch.Generator().manual_seed(seed)
    rows = 64
    noise = torch.rand(rows, len(nvec), generator=generator)
    noise[:8], noise[8:16] = 0.0, LARGEST
    features = torch.randn(rows, 2, generator=generator)
    mask = torch.tensor([float(own) for part in masks for own in part]).expand(rows, -1)
    for drawn in (noise, None):
        actions, parameters, _ = actor.decide_alone(seen(features, mask), drawn)
        for index, allowed in enumerate(masks):
            assert all(allowed[int(a)] for a in actions[:, index])
        assert torch.isfinite(ActionDistribution(actor.codec, parameters).log_prob(actions)).all()


@pytest.mark.parametrize("choices", [2, 3])
@pytest.mark.parametrize("order", [None, 1])
def test_entities_that_choose_in_turn_never_choose_what_is_forbidden(choices, order):
    n, rows = 4, 200
    space = gym.spaces.MultiDiscrete([choices] * n)
    config = {"num_entities": n, "autoregressive": True, "entity_order": order}
    actor = actor_of(space, bits(n * choices), features=3 * n, **config)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(rows, 3 * n, generator=generator)
    mask = torch.randint(2, (rows, n, choices), generator=generator).float()
    mask[torch.arange(rows), :, torch.randint(choices, (rows,), generator=generator)] = 1
    noise = torch.rand(rows, n, generator=generator)
    noise[:40], noise[40:80] = 0.0, LARGEST
    observations = seen(features, mask.flatten(1))
    for drawn in (noise, None):
        actions, parameters, _ = actor.decide_alone(observations, drawn)
        assert (mask.gather(-1, actions.long()[..., None]) == 1).all()
        assert len(actions.unique(dim=0)) > 4
        # What training makes of them is what was drawn from.
        torch.testing.assert_close(parameters, actor.parameters_of(observations, actions))


@pytest.mark.parametrize("name", [*ACTIONS])
def test_forbidden_logits_have_no_gradient(name):
    """Of log probability, entropy and divergence; by hand and by autograd."""
    team = Team.of_env(Locks())
    actor = Actor(
        observation_space=OBSERVATIONS[name], action_space=ACTIONS[name], model_config=NETWORK
    )
    torch.nn.init.normal_(actor.network.last.weight)
    env = Locks()
    env.reset(seed=3)
    rows = np.stack(
        [team.observation_codecs[name].flatten_one(env.observe()[name]) for _ in range(20)]
    )
    observations = torch.from_numpy(rows)
    codec = actor.codec
    actions, parameters, _ = actor.decide_alone(observations, torch.rand(20, codec.size))
    parameters = parameters.detach()
    new, old = ActionDistribution(codec, parameters), ActionDistribution(codec, parameters * 1.0)
    forbidden = parameters.abs() > 1e8
    assert forbidden.any()
    for gradient in (
        new.log_prob_gradient(actions),
        new.entropy_gradient(),
        old.kl_gradient(ActionDistribution(codec, torch.where(forbidden, parameters, 0.3))),
    ):
        assert torch.isfinite(gradient).all()
        assert (gradient[forbidden] == 0).all()
        assert (gradient[~forbidden] != 0).any()
    # A choice that is forbidden in all rows: its row of the last layer gets nothing at all.
    mask = team.observation_codecs[name].mask
    observations = observations.clone()
    observations[:, -mask.size] = 0.0
    observations[:, -mask.size + 1] = 1.0
    actions = actor.decide_alone(observations, torch.rand(20, codec.size))[0].detach()
    distribution = actor.distribution(observations, actions)
    (distribution.log_prob(actions).sum() + distribution.entropy().sum()).backward()
    first = actor.network.last.weight.grad[0]
    if codec.leaves[0].kind == "categorical":
        assert (first == 0).all()
    assert torch.isfinite(actor.network.last.weight.grad).all()
    assert (actor.network.last.weight.grad[1:] != 0).any()


def test_networks_and_filters_do_not_see_masks():
    actor = actor_of(gym.spaces.Discrete(3), bits(3), observation_filter=True)
    features = torch.randn(50, 2)
    masks = torch.randint(2, (50, 3)).float()
    masks[:, 1] = 1.0
    for flips in (masks, 1 - masks):
        flips[:, 1] = 1.0
        logits = actor.parameters_of(seen(features, flips))
        assert torch.equal(logits[:, 1], actor.parameters_of(seen(features, masks))[:, 1])
    actor.filter.track(seen(features, masks))
    torch.testing.assert_close(actor.filter.mean.float(), features.mean(dim=0))
    filtered = actor.filter(seen(features, masks))
    assert torch.equal(filtered[:, 2:], masks)
    torch.testing.assert_close(filtered[:, :2].mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)


def test_which_entries_are_left_without_a_choice():
    mask = ActionMask(bits(5), ActionCodec(gym.spaces.MultiDiscrete([2, 3])), "ann")
    masks = np.array([[1, 0, 0, 0, 1], [0, 0, 1, 1, 1], [1, 1, 0, 0, 0]], np.float32)
    assert mask.allows_nothing(masks).tolist() == [False, True, True]
