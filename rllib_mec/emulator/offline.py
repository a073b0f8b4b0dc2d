"""The offline model: a small GPT-2 trained in minutes on text of the Python installation.

It stands in for a foundation model where none can be had. Twelve layers, so that an emulator has
ten in the middle to choose from with an adapter of one at either end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from rllib_mec.emulator.models import (
    Foundation,
    context_of,
    load_foundation,
    no_bars,
    prepared,
)
from rllib_mec.emulator.progress import bar
from rllib_mec.emulator.texts import Text, general_text
from rllib_mec.emulator.tokens import sequences_of
from rllib_mec.emulator.training import Trainer, Training
from rllib_mec.errors import InputError

NAME = "offline"
"""How the command line calls it."""

END = "<|endoftext|>"

_STEPS_BETWEEN_SAVES = 100


@dataclasses.dataclass(frozen=True)
class OfflineModel:
    """Sizes of the model, and how it is trained."""

    vocabulary: int = 2048
    context: int = 64
    width: int = 96
    layers: int = 12
    heads: int = 3
    training: Training = dataclasses.field(
        default_factory=lambda: Training(steps=1400, batch=32, lr=2e-3, weight_decay=0.01)
    )
    seed: int = 0


def offline_foundation(directory: Path, settings: OfflineModel | None = None) -> Foundation:
    """Trains the offline model, or loads it from where it has been trained before.

    An interrupted training goes on where it was saved last.

    Args:
        directory: for the model, as a Hugging Face checkpoint.

    Raises:
        InputError: the directory holds a model of other settings or of another text.
    """
    settings, text = settings or OfflineModel(), general_text()
    made = {**dataclasses.asdict(settings), "text": text.digest, "torch": torch.__version__}
    about = directory / "offline.json"
    if about.is_file() and json.loads(about.read_text()) != made:
        raise InputError(
            f"{directory}: expected no model, or an offline model of the same settings, Python and "
            "PyTorch: remove it, or choose another directory"
        )
    if not (directory / "config.json").is_file():
        directory.mkdir(parents=True, exist_ok=True)
        about.write_text(json.dumps(made))
        _train(directory, settings, text)
    return dataclasses.replace(load_foundation(str(directory)), name=NAME)


def _train(directory: Path, settings: OfflineModel, text: Text) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = _tokenizer(text, settings)
    end = tokenizer.eos_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        config = GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=settings.context,
            n_embd=settings.width,
            n_layer=settings.layers,
            n_head=settings.heads,
            # The same function as GPT-2's gelu_new, in one operation.
            activation_function="gelu_pytorch_tanh",
            bos_token_id=end,
            eos_token_id=end,
        )
        model = prepared(GPT2LMHeadModel(config))
    sequences = sequences_of(text, tokenizer, settings.context).train
    trainer = Trainer(model, list(model.parameters()), settings.training, settings.seed)
    saved = directory / "training.pt"
    if saved.is_file():
        trainer.load_state(torch.load(saved, weights_only=True))
    with bar("training the offline model", settings.training.steps) as progress:
        progress.update(trainer.progress.step)

        def after_step() -> None:
            progress.update()
            # Drawn when the bar is, not each time.
            progress.set_postfix(perplexity=f"{math.exp(trainer.progress.loss):.1f}", refresh=False)
            if trainer.progress.step % _STEPS_BETWEEN_SAVES == 0:
                _save(trainer.state(), saved)

        with one_thread():
            trainer.run(sequences, after_step)
    foundation = Foundation(NAME, model, tokenizer, context_of(model))
    save_foundation(foundation, directory)
    saved.unlink(missing_ok=True)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keeps PyTorch to one thread.

    The weights then do not hang on how many cores there are; and threads of so small a model mostly
    wait for each other: beside another busy process two are ten times slower than one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tokenizer(text: Text, settings: OfflineModel) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=[END],
        # Any text can be written with all 256 bytes.
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.documents, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END)


def save_foundation(foundation: Foundation, directory: Path) -> None:
    """Writes a model and its tokeniser as a checkpoint; config.json, its sign of life, last."""
    with tempfile.TemporaryDirectory(dir=directory) as part:
        with no_bars():
            foundation.tokenizer.save_pretrained(part)
            foundation.model.save_pretrained(part)
        files = sorted(Path(part).iterdir(), key=lambda file: file.name == "config.json")
        for file in files:
            os.replace(file, directory / file.name)


def _save(state: dict[str, object], path: Path) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)
