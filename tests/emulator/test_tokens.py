import pytest
import torch

from rllib_mec.emulator.texts import Text
from rllib_mec.emulator.tokens import sequences_of
from rllib_mec.errors import InputError


def test_documents_become_sequences_of_their_tokens(tokenizer):
    text = Text("t", ("aaaa", "bbbb", " "))
    found = sequences_of(text, tokenizer, 2, num_validation=1)
    every = torch.cat([found.train, found.validation]).flatten().tolist()
    a, b, end = tokenizer("a")["input_ids"][0], tokenizer("b")["input_ids"][0], 256
    # Ten tokens with the ends of the documents, whichever comes first; the empty one is none.
    assert every in ([a] * 4 + [end] + [b] * 4 + [end], [b] * 4 + [end] + [a] * 4 + [end])


def test_the_last_sequences_are_those_to_measure_on(tokenizer):
    text = Text("t", ("x" * 1000,))
    found = sequences_of(text, tokenizer, 10, num_validation=7)
    assert found.train.shape == (93, 10)
    assert found.validation.shape == (7, 10)
    # At most a fifth.
    short = sequences_of(text, tokenizer, 100, num_validation=7)
    assert (len(short.train), len(short.validation)) == (8, 2)


def test_no_token_is_lost_between_training_and_validation(tokenizer):
    text = Text("t", ("".join(map(chr, range(33, 127))) * 4,))
    found = sequences_of(text, tokenizer, 8, num_validation=5)
    whole = tokenizer(text.documents[0])["input_ids"]
    every = torch.cat([found.train, found.validation]).flatten().tolist()
    assert every == whole[: len(every)]


def test_a_tokenizer_that_adds_a_beginning_adds_none_in_the_middle(tokenizer):
    from tokenizers.processors import TemplateProcessing

    plain = sequences_of(Text("t", ("abcdefghijklmno",)), tokenizer, 3)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<end> $A", special_tokens=[("<end>", 256)]
    )
    assert tokenizer("a")["input_ids"][0] == 256
    with_beginning = sequences_of(Text("t", ("abcdefghijklmno",)), tokenizer, 3)
    assert torch.equal(with_beginning.train, plain.train)


def test_too_little_text_is_refused(tokenizer):
    with pytest.raises(InputError, match="text t: 6 tokens: expected at least 80, five sequences"):
        sequences_of(Text("t", ("short",)), tokenizer, 16)
