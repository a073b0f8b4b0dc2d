"""Foundation models: any causal language model of Hugging Face's transformers.

All that is asked of a model is one list of decoder layers of the same class, which GPT-2, OPT,
GPT-NeoX, Llama, Mistral, Qwen, Gemma and their kin have, whatever its name.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rllib_mec.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclasses.dataclass(frozen=True)
class Foundation:
    """A foundation model with its tokeniser.

    name: as the user gave it. context: the longest sequence it takes, tokens.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    context: int


def load_foundation(name: str) -> Foundation:
    """Loads a causal language model and its tokeniser.

    Args:
        name: the path of a local checkpoint (a directory with config.json), or a name on the
            Hugging Face hub where that can be reached. Code from checkpoints is never run.

    Raises:
        InputError: there is no such model, or no causal language model in it.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if _looks_like_path(name) and not (Path(name) / "config.json").is_file():
        raise InputError(f"model {name}: expected a directory with config.json")
    try:
        with no_bars():
            # In float32: what is measured must not depend on how it was saved.
            model = AutoModelForCausalLM.from_pretrained(
                name, dtype=torch.float32, trust_remote_code=False
            )
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"model {name}: cannot be loaded: {reason}") from None
    except Exception as error:  # safetensors raises a class of its own for a damaged file
        raise InputError(f"model {name}: cannot be loaded: {error}") from None
    return Foundation(name, prepared(model), tokenizer, context_of(model))


@contextlib.contextmanager
def no_bars() -> Iterator[None]:
    """Keeps transformers from drawing a progress bar of its own for each file."""
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or Path(name).exists()


def context_of(model: PreTrainedModel) -> int:
    """Returns the longest sequence that a model takes, in tokens."""
    return int(getattr(model.config, "max_position_embeddings", 0) or 1024)


def prepared(model: PreTrainedModel) -> PreTrainedModel:
    """Returns the model without dropout and without a cache of keys, which training cannot use."""
    model.config.use_cache = False
    return model.eval()


def decoder_layers(model: nn.Module) -> tuple[nn.Module, str]:
    """Returns where the decoder layers are: the module that holds their list, and its name there.

    It is the list of most parameters whose members are all of one class.

    Raises:
        InputError: there is none.
    """
    best: tuple[int, nn.Module, str] | None = None
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len({type(each) for each in child}) == 1:
                size = sum(weight.numel() for weight in child.parameters())
                if best is None or size > best[0]:
                    best = (size, parent, name)
    if best is None:
        raise InputError(
            f"model {type(model).__name__}: expected a list of decoder layers of one class"
        )
    return best[1], best[2]


def layers_of(model: nn.Module) -> nn.ModuleList:
    """Returns the decoder layers of a model, in order."""
    parent, name = decoder_layers(model)
    layers = getattr(parent, name)
    assert isinstance(layers, nn.ModuleList)
    return layers


def with_layers(
    model: PreTrainedModel, keep: Sequence[int], own: Iterable[int] = ()
) -> PreTrainedModel:
    """Returns a model of some of another's layers.

    Weights are shared with ``model``, as an emulator's are never changed, but for those of the
    layers in ``own``, which are copied.

    Args:
        keep: places of the layers in ``model``, ascending.
        own: those of them that get weights of their own.
    """
    layers = layers_of(model)
    copied = {id(weight) for place in own for weight in layers[place].parameters()}
    # deepcopy takes what is in its memo for copied already.
    shared: dict[int, Any] = {
        id(weight): weight for weight in model.parameters() if id(weight) not in copied
    }
    left_out = {place: layer for place, layer in enumerate(layers) if place not in set(keep)}
    shared |= {id(layer): layer for layer in left_out.values()}
    new = copy.deepcopy(model, shared)
    parent, name = decoder_layers(new)
    setattr(parent, name, nn.ModuleList(layers_of(new)[place] for place in keep))
    _renumber(new, keep)
    return new


def _renumber(model: PreTrainedModel, keep: Sequence[int]) -> None:
    """Tells the model and its layers how many they are now, and which is which."""
    model.config.num_hidden_layers = len(keep)
    kinds = getattr(model.config, "layer_types", None)
    if kinds:  # e.g. sliding and full attention in turn
        model.config.layer_types = [kinds[place] for place in keep]
    for place, layer in enumerate(layers_of(model)):
        for module in layer.modules():
            if isinstance(getattr(module, "layer_idx", None), int):
                setattr(module, "layer_idx", place)  # noqa: B010 unknown to nn.Module
