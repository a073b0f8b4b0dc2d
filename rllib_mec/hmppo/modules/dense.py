"""Dense layers of S networks at once: forward, and backward by hand.

With the small networks of reinforcement learning, autograd's bookkeeping takes longer than the
arithmetic, and on a CPU ``tanh`` takes longer than the matrix product before it. Here a layer is
one call for all S networks, its gradient three; where it pays, the product comes from oneDNN with
the activation fused in, and otherwise ``tanh`` from ``sigmoid``, which torch computes ten times
faster. Both agree with torch's own to float32's last digits.

Under ``torch.autocast`` products are computed in its type; everything else stays float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_ONEDNN_FROM = 2_000_000
"""Multiply-adds of a network's product from which oneDNN beats the batched product of all."""

_FUSED_FROM = 1_200_000
"""The same for a single network's layer with its activation."""

_onednn: Any = (
    # The operator that torch's own compiler emits for a linear layer with its activation.
    getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if torch.backends.mkldnn.is_available()
    else None
)


@torch.library.custom_op(
    "rllib_mec::linear",
    mutates_args=(),
    schema="(Tensor x, Tensor weight, Tensor? bias, str fused) -> Tensor",
)
def _opaque_linear(x: Tensor, weight: Tensor, bias: Tensor | None, fused: str) -> Tensor:
    """A layer by oneDNN, for torch.compile, which would take its weights for constants."""
    return _onednn(x, weight, bias, fused, [], "")


@_opaque_linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, fused: str) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


@dataclasses.dataclass(frozen=True)
class Activation:
    """An activation and its derivative.

    apply: the function, which autograd knows.
    pull: from (gradient of the output, what was saved) to the gradient of the input.
    saves_output: whether ``pull`` needs the output; otherwise it needs the input.
    fused: oneDNN's name for it, if it has one.
    quick: the same function, faster on a CPU; overwrites its argument.
    """

    apply: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor, Tensor], Tensor]
    saves_output: bool
    fused: str | None = None
    quick: Callable[[Tensor], Tensor] | None = None


_ONE = torch.ones(())


def _quick_tanh(x: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        return 2 * torch.sigmoid(2 * x) - 1
    # The same without Python numbers: torch converts each of them every time.
    y = x.add_(x).sigmoid_()
    return y.add_(y).sub_(_ONE)


_aten = torch.ops.aten
ACTIVATIONS: dict[str, Activation] = {
    "elu": Activation(
        functional.elu, lambda g, y: _aten.elu_backward(g, 1.0, 1.0, 1.0, True, y), True
    ),
    "gelu": Activation(functional.gelu, _aten.gelu_backward, False),
    "relu": Activation(
        torch.relu, lambda g, y: _aten.threshold_backward(g, y, 0.0), True, "relu", torch.relu_
    ),
    "silu": Activation(functional.silu, _aten.silu_backward, False),
    "tanh": Activation(torch.tanh, _aten.tanh_backward, True, "tanh", _quick_tanh),
}


def dense(
    x: Tensor, weight: Tensor, bias: Tensor, activation: Activation | None
) -> tuple[Tensor, Tensor]:
    """A layer of S networks.

    Args:
        x: (S, R, I). weight: (S, O, I). bias: (S, O).

    Returns:
        the output, (S, R, O), and what :func:`pull_dense` needs of it.
    """
    if activation is None:
        y = _affine(x, weight, bias)
        return y, y
    if activation.fused and _uses_onednn(x, weight, _FUSED_FROM if len(x) == 1 else _ONEDNN_FROM):
        y = _by_onednn(x, weight, bias, activation.fused)
        return y, y
    return activate(_affine(x, weight, bias), activation)


def activate(before: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    """Returns the activation of ``before``, which is used up, and what its gradient needs."""
    if activation.quick is not None and _plain_cpu(before):
        y = activation.quick(before)
    else:
        y = activation.apply(before)
    return y, (y if activation.saves_output else before)


def pull_dense(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    saved: Tensor,
    activation: Activation | None,
    to_input: bool = True,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Returns the gradients of a layer's input (if ``to_input``), weight and bias.

    Args:
        gradient: of the layer's output, (S, R, O).
        x, weight: as given to :func:`dense`. saved: as it returned.
    """
    if activation is not None:
        gradient = activation.pull(gradient, saved)
    to_x = product(gradient, weight) if to_input else None
    return to_x, _pull_weight(gradient, x), gradient.sum(dim=1)


def _pull_weight(gradient: Tensor, x: Tensor) -> Tensor:
    # A product with a long inner dimension runs best with the wider factor on the right.
    if gradient.shape[2] > x.shape[2]:
        return product(x.mT, gradient).mT
    return product(gradient.mT, x)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix products, (S, M, K) times (S, K, N) to (S, M, N)."""
    _, rows, inner = a.shape
    if rows * inner * b.shape[2] >= _ONEDNN_FROM and _has_onednn(a):
        return _by_onednn(a, b.mT, None, "none")
    return torch.bmm(a, b).to(a.dtype)


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if _uses_onednn(x, weight, _ONEDNN_FROM):
        return _by_onednn(x, weight, bias, "none")
    return torch.baddbmm(bias.unsqueeze(1), x, weight.mT).to(x.dtype)


def _uses_onednn(x: Tensor, weight: Tensor, least: int) -> bool:
    _, outputs, inputs = weight.shape
    return x.shape[1] * outputs * inputs >= least and _has_onednn(x)


def _has_onednn(x: Tensor) -> bool:
    return _onednn is not None and _plain_cpu(x)


def _plain_cpu(x: Tensor) -> bool:
    """Whether nothing but the result is asked for: no gradient and no other type."""
    return x.is_cpu and not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None, fused: str) -> Tensor:
    results = []
    for s in range(x.shape[0]):
        own = (_packed(x[s]), _packed(weight[s]), None if bias is None else bias[s], fused)
        if torch.compiler.is_compiling():
            results.append(_opaque_linear(*own))
        else:
            results.append(_onednn(*own, [], ""))
    return results[0].unsqueeze(0) if len(results) == 1 else torch.stack(results)


def _packed(matrix: Tensor) -> Tensor:
    """A matrix without gaps, by rows or columns: with others oneDNN takes a thousand times."""
    return matrix if matrix.is_contiguous() or matrix.mT.is_contiguous() else matrix.contiguous()
