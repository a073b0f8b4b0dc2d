import math

import pytest
import torch

from rllib_mec.emulator.training import Trainer, Training, language_loss, perplexity
from rllib_mec.errors import InputError


def test_perplexity_of_a_model_that_knows_nothing_is_its_vocabulary(model, sequences):
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    assert perplexity(model, sequences) == pytest.approx(257, rel=1e-5)


def test_perplexity_weighs_each_token_alike(model, sequences):
    with torch.no_grad():
        losses = [float(language_loss(model, each[None])) for each in sequences]
    assert perplexity(model, sequences, batch=7) == pytest.approx(
        math.exp(sum(losses) / len(losses)), rel=1e-5
    )


def test_the_learning_rate_rises_and_falls():
    training = Training(steps=20, batch=1, lr=0.1)
    assert training.warmup == 2
    assert [training.lr_at(step) for step in (0, 1, 10, 19)] == pytest.approx(
        [0.05, 0.1 * 0.95, 0.05, 0.005]
    )


def trained(model, sequences, steps, seed=0, lr=1e-2):
    trainer = Trainer(model, list(model.parameters()), Training(steps, 8, lr), seed)
    trainer.run(sequences)
    return trainer


def test_training_learns(model, sequences):
    before = perplexity(model, sequences)
    trained(model, sequences, 30)
    assert perplexity(model, sequences) < before / 2


def test_the_same_seed_gives_the_same_weights(sequences):
    from small_models import gpt2

    models = [gpt2(4) for _ in range(3)]
    for each, seed in zip(models, (0, 0, 1), strict=True):
        trained(each, sequences, 5, seed)
    first, same, other = (list(each.parameters()) for each in models)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_going_on_is_as_if_nothing_had_been(sequences, tmp_path):
    from small_models import gpt2

    training = Training(8, 4, 1e-2)
    whole, first, second = gpt2(4), gpt2(4), gpt2(4)
    Trainer(whole, list(whole.parameters()), training, 3).run(sequences)
    part = Trainer(first, list(first.parameters()), training, 3)
    for _ in range(5):
        part.step(sequences)
    torch.save(part.state(), tmp_path / "state.pt")
    rest = Trainer(second, list(second.parameters()), training, 99)
    rest.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    rest.run(sequences)
    assert rest.progress.step == 8
    assert len(rest.progress.seconds) == 8
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_training_that_diverges_is_refused(model, sequences):
    with pytest.raises(InputError, match="expected a smaller lr than 1e"):
        trained(model, sequences, 30, lr=1e30)


@pytest.mark.parametrize("name", ["steps", "batch", "lr"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_settings_that_cannot_be_are_refused(name, value):
    with pytest.raises(InputError, match=f"{name} = {value}: expected a positive number"):
        Training(**{"steps": 1, "batch": 1, "lr": 1.0, name: value})
