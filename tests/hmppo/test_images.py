"""Images: where they lie, the convolutions that see them, and how these learn."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from learners import assert_same, build, update
from toy_images import SIZE, Lights, lights_config
from toy_teams import box, toy_config

from rllib_mec.errors import InputError
from rllib_mec.hmppo import Team
from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.images import Image, image_of, images_of_all
from rllib_mec.hmppo.model_settings import MODEL_DEFAULTS
from rllib_mec.hmppo.modules.critic_plan import CriticPlan
from rllib_mec.hmppo.modules.images import (
    ImageMLP,
    filters_for,
    plain_network,
    seen_by_convolutions,
)
from rllib_mec.hmppo.modules.networks import MLP
from rllib_mec.hmppo.observation_codec import ObservationCodec
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner

BYTES = gym.spaces.Box(0, 255, (2, 3, 1), np.uint8)


def test_a_box_of_three_axes_is_an_image():
    assert image_of(BYTES, 4) == Image(4, (2, 3, 1), 1 / 255)
    assert image_of(box(2, 3, 1), 0) == Image(0, (2, 3, 1))
    assert image_of(box(6, 1), 0) is None
    assert image_of(gym.spaces.Discrete(3), 0) is None


def test_images_lie_where_the_flat_observation_has_them():
    space = gym.spaces.Dict(
        {"a": gym.spaces.Discrete(3), "b": BYTES, "c": gym.spaces.Tuple((box(2), box(1, 2, 2)))}
    )
    codec = ObservationCodec(space, ActionCodec(gym.spaces.Discrete(2)))
    assert codec.images == (Image(3, (2, 3, 1), 1 / 255), Image(11, (1, 2, 2)))
    observed = space.sample()
    flat = codec.flatten_one(observed)
    np.testing.assert_array_equal(flat[3:9].reshape(2, 3, 1), observed["b"])
    np.testing.assert_array_equal(flat[11:15].reshape(1, 2, 2), observed["c"][1])


def test_images_of_members_lie_one_after_the_other():
    [own] = images = (Image(1, (1, 1, 2)),)
    found = images_of_all([(4, 2, images), (3, 1, ()), (5, 1, images)])
    assert found == tuple(dataclasses.replace(own, start=start) for start in (1, 5, 12))


def test_convolutions_by_hand():
    """One filter of 2 x 2 over a 2 x 3 image of bytes: two sums, before the other numbers."""
    settings = MODEL_DEFAULTS | {"conv_filters": [[1, 2, 1, "valid"]]}
    network = plain_network(8, [1], 1.0, settings, [Image(1, (2, 3, 1), 1 / 255)])
    assert isinstance(network, ImageMLP)
    [convolution] = (m for m in network.modules() if isinstance(m, torch.nn.Conv2d))
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
        convolution.bias.fill_(0.5)
    image = torch.tensor([[0.0, 255.0, 51.0], [102.0, 0.0, 255.0]])
    rows = torch.cat([torch.tensor([7.0]), image.flatten(), torch.tensor([-2.0])])[None]
    first = 0.5 + 1 * 0 + 2 * 1 + 3 * 0.4 + 4 * 0
    second = 0.5 + 1 * 1 + 2 * 0.2 + 3 * 0 + 4 * 1
    torch.testing.assert_close(network.encoded(rows), torch.tensor([[first, second, 7.0, -2.0]]))


def test_images_of_one_shape_share_their_convolutions():
    images = [Image(0, (SIZE, SIZE, 1)), Image(100, (SIZE, SIZE, 1)), Image(200, (2, 2, 1))]
    settings = MODEL_DEFAULTS | {"conv_filters": [[4, 2, 2]]}
    network = ImageMLP(204, [3], "tanh", 1.0, images, settings)
    assert len(network.convolutions) == 2
    x = torch.randn(5, 204)
    swapped = torch.cat([x[:, 100:200], x[:, :100], x[:, 200:]], dim=1)
    size = (SIZE // 2) ** 2 * 4
    ours, theirs = network.encoded(x), network.encoded(swapped)
    torch.testing.assert_close(ours[:, :size], theirs[:, size : 2 * size])
    torch.testing.assert_close(ours[:, 2 * size :], theirs[:, 2 * size :])


def test_two_networks_run_as_each_does_alone():
    """And their gradients are autograd's."""
    torch.manual_seed(0)
    settings = MODEL_DEFAULTS | {"conv_filters": [[2, 2, 1], [3, 2, 2]]}
    pair = [ImageMLP(9, [4, 2], "relu", 1.0, [Image(2, (2, 3, 1))], settings) for _ in range(2)]
    x, weight = torch.randn(2, 6, 9), torch.randn(2, 6, 2)
    values = [torch.stack(own) for own in zip(*(n.parameters() for n in pair), strict=True)]
    with torch.no_grad():
        y, tape = pair[0].trace(values, x)
        pulled = pair[0].pull(values, tape, weight)
    for index, network in enumerate(pair):
        own = network(x[index])
        torch.testing.assert_close(y[index], own.detach())
        expected = torch.autograd.grad((own * weight[index]).sum(), list(network.parameters()))
        for ours, theirs in zip(pulled, expected, strict=True):
            torch.testing.assert_close(ours[index], theirs)


def test_a_critic_knows_where_its_images_are():
    team = Team.of_env(Lights())
    central = CriticPlan("decision_point", team, False)
    pixels = SIZE * SIZE
    starts = [image.start for image in central.images("central_critic")]
    # The pilot's word and sign lie around its image, in the order of its space.
    at = team.observation_codecs["pilot"].images[0].start
    assert starts == [0, pixels, 2 * pixels + at]
    separate = CriticPlan("separate", team, False)
    assert [image.start for image in separate.images("watchers_critic")] == [0]
    assert [image.start for image in separate.images("pilot_critic")] == [at]
    assert CriticPlan("decision_point", team, False, seen=("pilot",)).images("central_critic") == (
        team.observation_codecs["pilot"].images
    )


@pytest.mark.parametrize("critic", ["decision_point", "separate"])
def test_the_update_of_convolutions_is_that_of_autograd(critic):
    config = lights_config(critic=critic)
    config.validate()
    [batch] = BatchedEnvRunner(config=config, worker_index=0).sample(num_timesteps=48)
    ours, theirs = build(config), build(config, by_autograd=True)
    before = {name: own.clone() for name, own in ours.module["pilot"].state_dict().items()}
    for learner in (ours, theirs):
        update(learner, batch)
    assert_same(ours, theirs)
    after = ours.module["pilot"].unwrapped().state_dict()
    assert all((after[name] != own).any() for name, own in before.items() if "conv" in name)


def test_filters_are_those_of_rllib_unless_given():
    assert filters_for((SIZE, SIZE, 1), None) == [[16, [5, 5], 2], [32, [5, 5], 2]]
    assert filters_for((5, 4, 2), [[3, 2, 1]]) == [[3, 2, 1]]
    with pytest.raises(InputError, match=r"conv_filters = None: .* images of 5x4x2"):
        filters_for((5, 4, 2), None)
    with pytest.raises(InputError, match=r"conv_filters = \[\[3\]\]: .* that fit images of 5x4x2"):
        filters_for((5, 4, 2), [[3]])


def test_boards_have_convolutions_only_if_asked_for():
    board, image = Image(0, (7, 9, 1)), Image(63, (10, 10, 1))
    assert seen_by_convolutions([board, image], None) == (image,)
    assert seen_by_convolutions([board, image], [[4, 3, 1]]) == (board, image)
    assert seen_by_convolutions([board, image], []) == ()


def test_no_filters_are_no_convolutions():
    settings = MODEL_DEFAULTS | {"conv_filters": []}
    assert isinstance(plain_network(6, [2], 1.0, settings, [Image(0, (2, 3, 1))]), MLP)


@pytest.mark.parametrize(
    ("settings", "training", "message"),
    [
        ({"conv_filters": 3}, {}, "model_config.conv_filters = 3: expected a list"),
        ({"conv_activation": "sine"}, {}, "model_config.conv_activation 'sine'"),
        ({}, {"entity_shared": True}, "entity_shared = true: expected"),
        ({}, {"compiled": True}, "compiled = true: expected false"),
    ],
)
def test_settings_of_images_are_checked(settings, training, message):
    config = lights_config(**training).rl_module(model_config=settings)
    with pytest.raises(InputError, match=message):
        config.validate()


def test_a_size_without_default_filters_is_refused_before_training():
    class Small(Lights):
        def __init__(self, env_config=None):
            super().__init__(env_config)
            self.observation_spaces["left"] = self.observation_spaces["right"] = box(8, 20, 1)

    with pytest.raises(InputError, match=r"conv_filters = None: .* images of 8x20x1"):
        toy_config(Small).validate()
