"""From texts to sequences of tokens, split into those to train on and those to measure on."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING

import torch

from rllib_mec.emulator.texts import Text
from rllib_mec.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclasses.dataclass(frozen=True)
class Sequences:
    """A task's sequences.

    train, validation: (sequences, length) tokens; no document of one is in the other, but for the
        one at the cut.
    """

    name: str
    train: torch.Tensor
    validation: torch.Tensor


def sequences_of(
    text: Text,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    num_validation: int = 256,
) -> Sequences:
    """Tokenises a text and cuts it into sequences.

    Documents are put in an order drawn with a fixed seed, and end with the tokeniser's end of
    text where it has one. The last sequences are those to measure on: ``num_validation``, but at
    most a fifth.

    Raises:
        InputError: the text is too short.
    """
    tokens = _tokens(text, tokenizer)
    count = len(tokens) // length
    validation = min(num_validation, count // 5)
    if validation < 1:
        raise InputError(
            f"text {text.name}: {len(tokens)} tokens: expected at least {5 * length}, five "
            f"sequences of {length}"
        )
    every = torch.tensor(tokens[: count * length]).reshape(count, length)
    train = every[: count - validation]
    return Sequences(text.name, train, every[count - validation :])


def _tokens(text: Text, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    documents = [document for document in text.documents if document.strip()]
    random.Random(0).shuffle(documents)
    end = tokenizer.eos_token_id
    tokens: list[int] = []
    # verbose: the warning that a document is longer than the model's context, as it is cut anyway.
    for ids in tokenizer(documents, add_special_tokens=False, verbose=False)["input_ids"]:
        tokens += ids
        if end is not None:
            tokens.append(end)
    return tokens
