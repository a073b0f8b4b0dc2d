"""Actors as ONNX: a torch module that takes the most probable actions, and its graph.

The exporter is torch's older one, by tracing (``dynamo=False``): of both it is the one that all
supported versions of torch have, that keeps every axis dynamic, and that turns the loop over
entities that choose in turn into one of ONNX, by scripting.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.experiment.export.forward import SCRIPTED, advanced, filtered, in_turn, outputs_of
from rllib_mec.experiment.export.spaces import leaves
from rllib_mec.hmppo.action_codec import BINARY, CATEGORICAL, CONTINUOUS, ActionCodec
from rllib_mec.hmppo.modules.actor import Actor
from rllib_mec.hmppo.modules.autoregressive import AutoregressiveHeads
from rllib_mec.hmppo.modules.recurrent import Recurrent
from rllib_mec.orchestrator.spec import ENTITIES, MEMBERS, PLAIN, Leaf

OPSET = 17


class MostProbable(nn.Module):
    """An actor's most probable actions, as the environment takes them, from raw observations.

    Args:
        actor: HMPPO's or SABPPO's. codec: of its actions, of a group those of one member.
        seen: whether later agents see its actions; then it gives their codes, too.

    Attributes:
        form: of its input, see :mod:`rllib_mec.orchestrator.spec`. outputs: the leaves.
        memory: numbers of a memory, 0 for none.
    """

    def __init__(self, actor: Actor, codec: ActionCodec, seen: bool) -> None:
        super().__init__()
        self.actor = actor
        is_group = actor.model_config.get("num_members") is not None
        self.form = MEMBERS if is_group else ENTITIES if actor.num_entities else PLAIN
        entities = actor.num_entities if self.form == ENTITIES else None
        self.outputs = [
            _output(path, leaf, codec, index, seen)
            for index, (path, leaf) in enumerate(leaves(codec.space))
        ]
        self._leaves: Any = nn.ModuleList(
            _LeafMode(own, space, entities or 1)
            for own, (_, space) in zip(codec.leaves, leaves(codec.space), strict=True)
        )
        network = actor.network
        self.memory = network.memory_size if isinstance(network, Recurrent) else 0
        self._seen = seen
        self._activation = actor.model_config["fcnet_activation"]
        if self._activation not in SCRIPTED:
            raise unknown_name("fcnet_activation", self._activation, SCRIPTED)

    def forward(self, observations: Tensor, memory: Tensor | None = None) -> tuple[Tensor, ...]:
        """Returns the actions of each leaf, then the codes of each, if they are seen.

        And at last memories after the step, if there are any before it.
        """
        own = self.actor.filter
        x = observations if own is None else filtered(own, observations)
        network, after = self.actor.network, []
        if isinstance(network, AutoregressiveHeads):
            logits = in_turn(network, x, self._activation)
        elif isinstance(network, Recurrent):
            assert memory is not None, "who remembers is asked with a memory"
            logits, remembered = advanced(network, x, memory)
            after = [remembered]
        else:
            logits = outputs_of(network, x)
        actions, codes = [], []
        start = 0
        for leaf in self._leaves:
            action, code = leaf(logits[..., start : start + leaf.width])
            start += leaf.width
            actions.append(action)
            codes.append(code)
        return (*actions, *(codes if self._seen else ()), *after)


class _LeafMode(nn.Module):
    """A leaf's most probable action and its code, from its logits, of one entity of several."""

    def __init__(self, leaf: Any, space: gym.Space, entities: int) -> None:
        super().__init__()
        self.kind = leaf.kind
        size = leaf.size // entities
        self.choices = [int(n) for n in leaf.choices[:size]]
        self.width = leaf.num_logits // entities
        self.register_buffer("start", torch.tensor(leaf.start[:size], dtype=torch.int64))
        self.bounded = isinstance(space, gym.spaces.Box) and space.is_bounded()
        if self.bounded:
            assert isinstance(space, gym.spaces.Box)
            for name, bound in (("low", space.low), ("high", space.high)):
                own = np.asarray(bound, np.float32).ravel()
                if (own.reshape(entities, -1) != own[:size]).any():
                    raise InputError(
                        f"action space {space}: expected the same bounds for all {entities} "
                        "entities, which share an actor"
                    )
                self.register_buffer(name, torch.tensor(own[:size]))

    start: Tensor
    low: Tensor
    high: Tensor

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        if self.kind == BINARY:
            coins = logits > 0
            return coins.to(torch.int64) + self.start, coins.to(logits.dtype) * 2 - 1
        if self.kind == CATEGORICAL:
            best = [own.argmax(dim=-1) for own in logits.split(self.choices, dim=-1)]
            codes = [
                functional.one_hot(own, n).to(logits.dtype)
                for own, n in zip(best, self.choices, strict=True)
            ]
            return torch.stack(best, dim=-1) + self.start, torch.cat(codes, dim=-1)
        assert self.kind == CONTINUOUS
        code = logits.clamp(-1, 1)
        if not self.bounded:
            return logits, code
        scaled = self.low + (logits + 1.0) * (self.high - self.low) / 2
        return torch.minimum(torch.maximum(scaled, self.low), self.high), code


def write_onnx(module: MostProbable, path: Path) -> None:
    """Writes the module as a file of ONNX, with dynamic axes.

    Raises:
        InputError: torch cannot export it.
    """
    sizes = (3, 5) if module.form == ENTITIES else (3,)
    names = [leaf.action for leaf in module.outputs]
    names += [leaf.code for leaf in module.outputs if leaf.code is not None]
    axes = {0: "rows", 1: "entities"} if module.form == ENTITIES else {0: "rows"}
    inputs, taken = [torch.zeros(*sizes, module.actor.num_inputs)], ["observation"]
    if module.memory:
        inputs.append(torch.zeros(3, module.memory))
        taken.append("memory")
        names.append("memory_after")
    with warnings.catch_warnings():
        # That another exporter is the default, and what tracing thinks of Python's own numbers.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module.eval(),
                tuple(inputs),
                str(path),
                dynamo=False,
                input_names=taken,
                output_names=names,
                dynamic_axes=dict.fromkeys([*taken, *names], axes),
                opset_version=OPSET,
            )
        except Exception as error:  # torch's errors here share no base
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise InputError(f"an actor cannot be exported to ONNX: {reason}") from error


def _output(
    path: tuple[str | int, ...], leaf: gym.Space, codec: ActionCodec, index: int, seen: bool
) -> Leaf:
    name = ".".join(map(str, path))
    suffix = f".{name}" if path else ""
    return Leaf(
        path,
        codec.leaves[index].kind,
        tuple(leaf.shape or ()),
        str(leaf.dtype),
        f"action{suffix}",
        f"code{suffix}" if seen else None,
    )
