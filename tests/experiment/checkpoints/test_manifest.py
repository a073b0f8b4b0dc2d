"""Manifests: whatever happens to a checkpoint's files is found before any of them is used."""

import json
import shutil

import pytest
from forms import FORMS

from rllib_mec.errors import InputError
from rllib_mec.experiment.checkpoints import manifest
from rllib_mec.experiment.evaluate import evaluate

WEIGHTS = "state.msgpack"

pytestmark = pytest.mark.ray


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved("HMPPO"), tmp_path / "checkpoint_000000")


def flip(path, bit=0):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1 << bit
    path.write_bytes(bytes(data))


def test_it_says_what_was_trained_and_how_far(copy):
    about = manifest.check(copy)
    assert about.experiment == FORMS["HMPPO"]
    assert about.progress["training_iteration"] == 1
    assert about.progress["num_env_steps_sampled_lifetime"] == 40
    assert about.scenario["num_ues"] == 2
    assert about.scenario["model_size_gb"] == 10.8
    versions = json.loads((copy / "manifest.json").read_text())["versions"]
    assert set(versions) == {"python", "rllib_mec", "ray", "torch", "numpy"}
    names = {p.relative_to(copy).as_posix() for p in copy.rglob("*") if p.is_file()}
    assert set(about.files) == names - {"manifest.json"}


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_is_found_in_any_file(copy, bit):
    for name in manifest.read(copy).files:
        flip(copy / name, bit)
        with pytest.raises(InputError, match=f"damaged: {name} has another SHA-256"):
            manifest.check(copy)
        flip(copy / name, bit)
    manifest.check(copy)


def says_the_same(one, other):
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


def test_a_flipped_bit_is_found_anywhere_in_the_manifest(copy):
    path = copy / "manifest.json"
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 1
        if says_the_same(changed, whole):  # the last digit of a number, below its precision
            continue
        path.write_bytes(bytes(changed))
        with pytest.raises(InputError, match=r"manifest\.json"):
            manifest.read(copy)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: flip(c / WEIGHTS), f"damaged: {WEIGHTS} has another SHA-256 than written"),
        (lambda c: (c / WEIGHTS).unlink(), f"damaged: {WEIGHTS}: No such file"),
        (lambda c: shutil.rmtree(c / "learner_group"), "damaged: learner_group/.*: No such file"),
        (lambda c: (c / WEIGHTS).write_bytes(b""), f"{WEIGHTS} has 0 bytes, expected"),
        (lambda c: truncate(c / WEIGHTS), f"{WEIGHTS} has .* bytes, expected"),
        (lambda c: (c / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda c: (c / "manifest.json").write_text("[]"), "manifest.json cannot be read"),
        (lambda c: (c / "manifest.json").unlink(), "has no manifest.json.*add --trust"),
    ],
)
def test_a_damaged_checkpoint_is_refused(copy, damage, message):
    damage(copy)
    with pytest.raises(InputError, match=f"{copy}.*{message}"):
        evaluate(str(copy), None, {}, 2, 0)


def sealed(directory, **changes):
    """Writes a manifest that somebody has made up."""
    content = json.loads((directory / "manifest.json").read_text())
    content.pop("sha256")
    content |= changes
    content["sha256"] = manifest._seal(content)
    (directory / "manifest.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["../x.msgpack", "/etc/passwd", "a/../../x.json"])
def test_a_manifest_names_nothing_outside_its_directory(copy, name):
    sealed(copy, files={name: {"bytes": 1, "sha256": "0"}})
    with pytest.raises(InputError, match="expected paths below it"):
        manifest.read(copy)


def test_a_later_format_is_refused_with_the_version_that_wrote_it(copy):
    sealed(copy, format=2, versions={"rllib_mec": "9.1"})
    with pytest.raises(InputError, match=r"written by rllib_mec 9\.1, whose format 2 is newer"):
        manifest.read(copy)
