"""Scenarios: where they come from, what is refused, and in which words."""

import dataclasses

import numpy as np
import pytest
import yaml

from rllib_mec.errors import InputError
from rllib_mec.system import SCENARIOS, Scenario
from rllib_mec.system.quantity import INFERRED, PUBLISHED

PUBLISHED_VALUES = {
    "num_tasks": 50,
    "model_size_gb": 10.8,
    "data_size_mb": (300.0, 500.0),
    "uplink_power_w": (0.2, 1.0),
    "downlink_power_w": 60.0,
    "uplink_bandwidth_hz": 1e5,
    "downlink_bandwidth_hz": 1e6,
    "path_loss_exponent": 2.0,
    "perplexity_coefficients": (25.2, -43.1, 31.9),
    "complexity_weight": 10.0,
    "retention": (0.2, 0.8),
}


def test_published_constants():
    scenario = Scenario.of("published")
    assert {name: getattr(scenario, name) for name in PUBLISHED_VALUES} == PUBLISHED_VALUES
    assert scenario == Scenario()


def test_published_8bit_differs_in_the_bits_only():
    assert Scenario.of("published-8bit") == Scenario(name="published-8bit", bits_per_byte=8)


def test_every_constant_says_what_it_is_and_whence():
    for field in dataclasses.fields(Scenario):
        assert field.metadata["meaning"]
        assert field.metadata["unit"]
        assert field.metadata["source"] in (PUBLISHED, INFERRED)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_dict_round_trip(name):
    scenario = Scenario.of(name)
    assert Scenario.of(scenario.to_dict()) == scenario


def test_yaml_round_trip(tmp_path):
    scenario = Scenario(name="mine", num_ues=3, retention=(0.25, 0.75), emulator_action="layers")
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(scenario.to_dict()))
    assert Scenario.of(str(file)) == scenario


def test_yaml_starts_from_its_base_and_overrides_come_last(tmp_path):
    file = tmp_path / "mine.yml"
    file.write_text("base: published-8bit\nnum_ues: 3\nnum_tasks: 7\n")
    scenario = Scenario.of(str(file), num_ues=4)
    assert scenario == Scenario(name="published-8bit", bits_per_byte=8, num_ues=4, num_tasks=7)


def test_yaml_numbers_with_exponents_are_numbers(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("uplink_bandwidth_hz: 2e5\ndelay_weight_per_s: -1.5e-3\ndistance_m: [1e1, 2E2]")
    scenario = Scenario.of(str(file))
    assert scenario.uplink_bandwidth_hz == 2e5
    assert scenario.delay_weight_per_s == -1.5e-3
    assert scenario.distance_m == (10.0, 200.0)


def test_values_are_converted():
    scenario = Scenario.of({"num_ues": 4.0, "bits_per_byte": 8, "retention": [0.5, 1]})
    assert isinstance(scenario.num_ues, int)
    assert isinstance(scenario.bits_per_byte, float)
    assert scenario.retention == (0.5, 1.0)
    assert hash(scenario) == hash(Scenario(num_ues=4, bits_per_byte=8.0, retention=(0.5, 1.0)))


def test_numpy_numbers_become_plain_ones():
    scenario = Scenario(num_ues=np.int64(4), bits_per_byte=np.float32(8))
    assert scenario == Scenario(num_ues=4, bits_per_byte=8.0)
    assert yaml.safe_load(yaml.safe_dump(scenario.to_dict())) == scenario.to_dict()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"num_ues": 0}, "published.num_ues = 0: expected a whole number >= 1"),
        ({"num_ues": 2.5}, "num_ues = 2.5: expected a whole number"),
        ({"num_ues": True}, "num_ues = True: expected a whole number"),
        ({"num_ues": "six"}, "num_ues = 'six': expected a whole number"),
        ({"num_ues": None}, "num_ues = None: expected a whole number"),
        ({"num_tasks": -1}, "num_tasks = -1: expected a whole number >= 1"),
        ({"model_size_gb": 0}, "model_size_gb = 0: expected a number > 0"),
        ({"bits_per_byte": float("nan")}, "bits_per_byte = nan: expected a number > 0"),
        ({"downlink_power_w": float("inf")}, "downlink_power_w = inf: expected a number > 0"),
        ({"path_loss_exponent": -1}, "path_loss_exponent = -1: expected a number >= 0"),
        ({"data_size_mb": 400}, "data_size_mb = 400: expected a list of 2 numbers"),
        ({"data_size_mb": [1, 2, 3]}, r"data_size_mb = \[1, 2, 3\]: expected a list of 2"),
        ({"data_size_mb": ["a", 2]}, r"data_size_mb = \['a', 2\]: expected a number > 0"),
        ({"distance_m": [0, 500]}, r"distance_m = \[0, 500\]: expected a number > 0"),
        ({"distance_m": [500, 50]}, r"distance_m = \[500, 50\]: expected low <= high"),
        ({"retention": [0.2, 1.2]}, r"retention = \[0.2, 1.2\]: expected a number > 0 and <= 1"),
        ({"fading_correlation": 1}, "fading_correlation = 1: expected a number >= 0 and < 1"),
        ({"fading_correlation": -0.1}, "fading_correlation = -0.1: expected a number >= 0 and < 1"),
        (
            {"fading_correlation": 0.9, "fading": "none"},
            "fading_correlation = 0.9: expected 0 with fading 'none'",
        ),
        ({"walk_m": [-1, 0]}, r"walk_m = \[-1, 0\]: expected a number >= 0"),
        ({"walk_m": [60, 30]}, r"walk_m = \[60, 30\]: expected low <= high"),
        (
            {"walk_m": [0, 451]},
            r"walk_m = \[0, 451\]: expected at most 450, the width of distance_m",
        ),
        ({"fading": "rice"}, "fading = 'rice': expected one of rayleigh, none"),
        ({"emulator_action": 3}, "emulator_action = 3: expected one of retention, layers, keep"),
        ({"name": 3}, "name = 3: expected a name"),
        ({"perplexity_weight": 0.1}, "perplexity_weight = 0.1: expected a number <= 0"),
        ({"delay_weight_per_s": 1}, "delay_weight_per_s = 1: expected a number <= 0"),
        # f(E) < 0 between the ends only, then at E = 1 only, where servers train
        ({"perplexity_coefficients": [100, -120, 35]}, r"expected f\(E\) > 0 on \[0.2, 1\]"),
        ({"perplexity_coefficients": [0, -10, 9]}, r"expected f\(E\) > 0 on \[0.2, 1\]"),
        (
            {"retention": [0.51, 0.52], "emulator_action": "layers", "num_layers": 10},
            "expected room for a whole number of 10 layers",
        ),
        (
            {"complexity_weight": 0, "complexity_factor": "corrected"},
            "complexity_weight = 0: expected > 0 with 'corrected'",
        ),
    ],
)
def test_senseless_values_are_refused_by_name(overrides, message):
    with pytest.raises(InputError, match=message) as caught:
        Scenario.of("published", **overrides)
    assert str(caught.value).startswith("scenario ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("publishd", "unknown scenario 'publishd': did you mean 'published'?"),
        ("urban", "unknown scenario 'urban': expected one of field, field-64ue, published"),
        (7, "unknown scenario 7: expected one of"),
        ({"num_ue": 3}, "unknown scenario key 'num_ue': did you mean 'num_ues'?"),
        ({"base": "publishd"}, "unknown scenario 'publishd': did you mean 'published'?"),
        ({1: 2}, "unknown scenario key 1: expected one of"),
        ("missing.yaml", "cannot read missing.yaml: "),
    ],
)
def test_unknown_names_are_refused_with_a_suggestion(source, message):
    with pytest.raises(InputError) as caught:
        Scenario.of(source)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("content", [b"a: [1", b"- 1\n- 2", b"", b"name: \xff\xfe"])
def test_broken_files_are_refused_by_name(tmp_path, content):
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.yaml") as caught:
        Scenario.of(str(file))
    assert "\n" not in str(caught.value)


def test_scenarios_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scenario().num_ues = 3
