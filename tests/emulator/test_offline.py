import dataclasses

import pytest
import torch

from rllib_mec.emulator import offline
from rllib_mec.emulator.offline import OfflineModel, offline_foundation
from rllib_mec.emulator.texts import Text
from rllib_mec.emulator.training import Trainer, Training
from rllib_mec.errors import InputError

SMALL = OfflineModel(
    vocabulary=300, context=16, width=8, layers=4, heads=2, training=Training(12, 4, 1e-3)
)


@pytest.fixture(autouse=True)
def _short_text(monkeypatch):
    text = Text("general", tuple(f"a text of numbers such as {i} and {i * i}" for i in range(99)))
    monkeypatch.setattr(offline, "general_text", lambda: text)


def test_the_model_is_trained_once(tmp_path):
    first = offline_foundation(tmp_path / "m", SMALL)
    time = (tmp_path / "m" / "model.safetensors").stat().st_mtime_ns
    again = offline_foundation(tmp_path / "m", SMALL)
    assert (tmp_path / "m" / "model.safetensors").stat().st_mtime_ns == time
    for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert first.name == "offline"
    assert first.context == 16
    words = "numbers such as é and ∞"  # bytes that the text has not
    assert again.tokenizer.decode(again.tokenizer(words)["input_ids"]) == words


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    whole = offline_foundation(tmp_path / "whole", SMALL)
    monkeypatch.setattr(offline, "_STEPS_BETWEEN_SAVES", 4)
    step = Trainer.step

    def interrupted(self, sequences):
        if self.progress.step == 9:
            raise KeyboardInterrupt
        step(self, sequences)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        offline_foundation(tmp_path / "m", SMALL)
    assert not (tmp_path / "m" / "config.json").exists()
    taken = []
    monkeypatch.setattr(Trainer, "step", lambda self, s: (taken.append(1), step(self, s)))
    resumed = offline_foundation(tmp_path / "m", SMALL)
    assert len(taken) == 12 - 8
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_model_of_other_settings_is_not_taken_for_this_one(tmp_path):
    offline_foundation(tmp_path / "m", SMALL)
    with pytest.raises(InputError, match="expected no model, or an offline model of the same"):
        offline_foundation(tmp_path / "m", dataclasses.replace(SMALL, width=16))
