"""The one thing that differs on a GPU: where tensors are, and how memory is measured."""

import pytest
import torch
from small_models import gpt2

from rllib_mec.emulator.adapters import Adapter
from rllib_mec.emulator.measure import Tuning, Unit, measure
from rllib_mec.emulator.tokens import Sequences
from rllib_mec.emulator.training import Training

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", ["local", "full"])
def test_a_measurement_is_the_same_on_every_device(device, case, sequences):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    own = Sequences("t", sequences[:30], sequences[30:])
    tuning = Tuning(Adapter("lora"), Training(4, 8, 1e-2), 1e-3)
    unit = Unit("t", case, 0, 0.5, "layer_drop") if case == "local" else Unit("t", case, 0)
    here = measure(unit, gpt2(6), own, tuning)
    there = measure(unit, gpt2(6).to(device), own, tuning)
    for name in ("zero_shot", "tuned", "plug_in", "flops_per_token"):
        assert getattr(there, name) == pytest.approx(getattr(here, name), rel=1e-3)
    assert there.adapter_bytes == here.adapter_bytes
    assert there.peak_memory_bytes > 0
