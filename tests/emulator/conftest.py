"""What the tests of emulators share."""

from __future__ import annotations

import pytest
import torch
from small_models import LENGTH, byte_tokenizer, gpt2
from transformers import PreTrainedModel, PreTrainedTokenizerFast


@pytest.fixture
def model() -> PreTrainedModel:
    """A GPT-2 of eight layers, so of six in the middle."""
    return gpt2(8)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer()


@pytest.fixture
def sequences() -> torch.Tensor:
    """Tokens that rise by one: something that can be learned, (40, 16)."""
    start = torch.arange(40)[:, None] * 5
    return (start + torch.arange(LENGTH)) % 256
