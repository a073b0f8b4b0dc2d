"""The one thing that differs on a GPU: where the weights are that are tuned."""

import dataclasses

import pytest
import torch
from small_federations import federation
from small_models import gpt2

from rllib_mec.federated.cases import CASES

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES)
def test_a_round_is_the_same_on_every_device(device, case):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    here = federation(case, server_share=0.2, server_steps=2)
    there = federation(case, server_share=0.2, server_steps=2)
    there.ground = dataclasses.replace(there.ground, whole=gpt2(6).to(device))
    first, second = (each.round(each.start()[0]) for each in (here, there))
    assert second[1].perplexity == pytest.approx(first[1].perplexity, rel=1e-3)
    assert second[1].total_bytes == first[1].total_bytes
    assert second[1].used == 3
    assert all(not weight.is_cuda for weight in second[0].weights.values())
