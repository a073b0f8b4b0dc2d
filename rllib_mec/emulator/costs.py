"""What tuning costs: floating-point operations and memory of a training step, measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from rllib_mec.emulator.training import language_loss


@dataclasses.dataclass(frozen=True)
class StepCosts:
    """Of one training step.

    flops_per_token: operations forward and backward, as PyTorch counts them.
    memory_bytes: all weights, the gradients and Adam's two moments of those trained, and what the
        forward pass keeps for the backward pass; on a GPU the peak that its allocator measured.
    """

    flops_per_token: float
    memory_bytes: int


def step_costs(
    model: PreTrainedModel, trainable: Sequence[nn.Parameter], tokens: torch.Tensor
) -> StepCosts:
    """Measures a step on (sequences, length) tokens; weights stay as they are."""
    tokens = tokens.to(next(model.parameters()).device)
    # Of attention's kernels PyTorch counts only the plain one's operations.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        language_loss(model, tokens).backward()
    for weight in trainable:
        weight.grad = None
    memory = _cuda_peak(model, tokens) if tokens.is_cuda else _kept_for_backward(model, tokens)
    state = sum(weight.numel() * weight.element_size() for weight in trainable)
    if tokens.is_cuda:
        memory += 2 * state  # The gradients were there at the peak, the moments were not.
    else:
        memory += 3 * state + sum(each.numel() * each.element_size() for each in model.parameters())
    for weight in trainable:
        weight.grad = None
    return StepCosts(counter.get_total_flops() / tokens.numel(), memory)


def _kept_for_backward(model: PreTrainedModel, tokens: torch.Tensor) -> int:
    """Bytes of the tensors, other than weights, that a forward pass keeps."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        # Detached: a tensor that knows its own graph would keep itself alive for ever.
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        # Its graph holds what was kept, so that no place in memory is used twice.
        loss = language_loss(model, tokens)
    assert loss.requires_grad
    return sum(kept.values())


def _cuda_peak(model: PreTrainedModel, tokens: torch.Tensor) -> int:
    """Peak bytes of a step in the GPU's allocator."""
    torch.cuda.reset_peak_memory_stats(tokens.device)
    language_loss(model, tokens).backward()
    return int(torch.cuda.max_memory_allocated(tokens.device))
