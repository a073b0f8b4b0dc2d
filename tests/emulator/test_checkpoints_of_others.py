"""Models that somebody else has saved."""

import json

import pytest
import torch
from small_models import byte_tokenizer, gpt2, llama

from rllib_mec.emulator.models import decoder_layers, layers_of, load_foundation, with_layers
from rllib_mec.errors import InputError


def save(model, path, **kwargs):
    model.save_pretrained(path, **kwargs)
    byte_tokenizer().save_pretrained(path)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_a_sharded_checkpoint_is_loaded(make, tmp_path, sequences):
    model = make(4)
    save(model, tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    found = load_foundation(str(tmp_path))
    assert found.context == 16
    with torch.no_grad():
        assert torch.equal(
            found.model(input_ids=sequences).logits, model(input_ids=sequences).logits
        )


def test_half_precision_is_loaded_in_full(tmp_path):
    save(gpt2(4).to(torch.bfloat16), tmp_path)
    assert {weight.dtype for weight in load_foundation(str(tmp_path)).model.parameters()} == {
        torch.float32
    }


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"model \./gone: expected a directory with config.json"):
        load_foundation("./gone")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=f"model {tmp_path}: cannot be loaded"):
        load_foundation(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt9"}))
    with pytest.raises(InputError, match=f"model {tmp_path}: cannot be loaded"):
        load_foundation(str(tmp_path))


def test_a_damaged_file_is_refused(tmp_path):
    save(gpt2(4), tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=f"model {tmp_path}: cannot be loaded"):
        load_foundation(str(tmp_path))


def test_code_of_a_checkpoint_is_not_run(tmp_path):
    save(gpt2(4), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "mine.Mine"}}
    config["auto_map"]["AutoConfig"] = "mine.Config"
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text("raise SystemExit('run')")
    with pytest.raises(InputError, match=f"model {tmp_path}: cannot be loaded"):
        load_foundation(str(tmp_path))


@pytest.mark.parametrize("make", [gpt2, llama])
def test_decoder_layers_are_found_by_what_they_are(make):
    parent, name = decoder_layers(make(5))
    assert len(getattr(parent, name)) == 5
    assert name == ("h" if make is gpt2 else "layers")


def test_a_model_without_layers_is_refused():
    with pytest.raises(InputError, match="model Linear: expected a list of decoder layers"):
        decoder_layers(torch.nn.Linear(2, 2))


def test_a_cut_model_generates_the_same_with_and_without_cached_keys(sequences):
    """Keys are cached by the numbers of layers, which must be those of the cut model."""
    cut = with_layers(llama(6), [0, 2, 5])
    assert len(layers_of(cut)) == 3
    prompt = sequences[1:2, :5]
    made = [
        cut.generate(
            prompt, max_new_tokens=6, do_sample=False, pad_token_id=256, use_cache=use_cache
        )
        for use_cache in (True, False)
    ]
    assert torch.equal(*made)
    assert len(set(made[0][0, 5:].tolist())) > 1
