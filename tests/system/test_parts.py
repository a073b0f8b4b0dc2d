"""The parts of a scenario: switched on and off, and what each does to a step, worked by hand."""

import dataclasses

import numpy as np
import pytest

from rllib_mec.errors import InputError
from rllib_mec.system import Scenario, Simulator
from rllib_mec.system.parts import PARTS, Compute, Domains, Memory
from rllib_mec.system.step import Situation, step
from rllib_mec.system.tasks import Devices, Tasks, draw_episode, streams

OFF = dict.fromkeys(PARTS, False)

# Noise of 1 W/Hz: two UEs with 1 MHz each, a gain of 3e6 and 1 W have an SNR of 3, 2 bit/s/Hz.
BARE = Scenario(
    num_ues=4,
    bits_per_byte=8.0,
    uplink_bandwidth_hz=2e6,
    downlink_bandwidth_hz=2e6,
    downlink_power_w=2.0,
    noise_dbm_per_hz=30.0,
    model_size_gb=0.004,
)
TASKS = Tasks(
    gain=np.full((1, 4), 3e6),
    complexity=np.full((1, 4), 10.0),
    data_mb=np.full((1, 4), 1.0),
    power_w=np.full((1, 4), 1.0),
    tokens=np.array([[1e3, 2e3, 1e3, 4e3]]),
)
CACHED = np.array([[0.0, 0.3, 0.5, 0.5]])
DEVICES = Devices(tflops=np.array([[1.0, 1.0, 1.0, 2.0]]))
# UEs 0 and 1 upload, UE 2 keeps its emulator, UE 3 downloads another.
SERVER = np.array([[True, True, False, False]])
RETENTION = np.array([[0.8, 0.8, 0.5, 0.25]])
COMPUTE = {"parameters": 1e9, "server_tflops": 2.0, "ue_tflops": [1.0, 2.0]}
ADAPTER = {"adapter_mb": 1.0}
ENERGY = {"joule_per_tflop": 500.0, "weight_per_kj": -2.0, "battery_kj": [10.0, 10.0]}


def carry_out(parts, tasks=TASKS, devices=DEVICES, battery_kj=None, server=SERVER, **changes):
    scenario = Scenario.of(BARE, **parts)
    battery = None if battery_kj is None else np.array([battery_kj])
    situation = Situation(dataclasses.replace(tasks, **changes), CACHED, devices, battery)
    return step(scenario, situation, server, RETENTION)


def test_transmissions_alone():
    # 8 Mbit at 2 Mbit/s; UE 3 downloads 0.25 * 32 Mbit alone, at 2 MHz, 2 W and so 4 Mbit/s.
    assert carry_out({}).delay_s == pytest.approx(np.array([[4.0, 4.0, 0.0, 2.0]]))


def test_ues_compute_and_wait_in_one_queue():
    """Tasks are 4, 8, 4 and 16 TFLOP: the server works 12 / 2 s, UEs 0.5 * 4 / 1, 0.25 * 16 / 2."""
    outcome = carry_out({"compute": COMPUTE})
    assert outcome.delay_s == pytest.approx(np.array([[10.0, 10.0, 2.0, 4.0]]))
    alone = carry_out({"compute": {**COMPUTE, "server_queue": "none"}})
    assert alone.delay_s == pytest.approx(np.array([[6.0, 8.0, 2.0, 4.0]]))
    assert outcome.system_delay_s.tolist() == [10.0]


def test_adapters_travel_back():
    """8 Mbit at 2 Mbit/s: down for the two that uploaded, up for the two that did not."""
    outcome = carry_out({"adapter": ADAPTER})
    assert outcome.delay_s == pytest.approx(np.array([[8.0, 8.0, 4.0, 6.0]]))


def test_all_parts_of_a_delay_add_up():
    outcome = carry_out({"compute": COMPUTE, "adapter": ADAPTER})
    assert outcome.delay_s == pytest.approx(np.array([[14.0, 14.0, 6.0, 8.0]]))


def test_energy_of_sending_and_training():
    """1 W for 4 s is 4 J; 2 and 4 TFLOP at 500 J are 1 and 2 kJ."""
    outcome = carry_out({"compute": COMPUTE, "energy": ENERGY}, battery_kj=[10, 0.001, 10, 3])
    spent = np.array([[0.004, 0.004, 1.0, 2.0]])
    assert outcome.energy_kj == pytest.approx(spent)
    assert outcome.battery_kj == pytest.approx(np.array([[9.996, 0.0, 9.0, 1.0]]))
    without = carry_out({"compute": COMPUTE})
    assert outcome.reward - without.reward == pytest.approx([-2.0 * 3.008 / 4])
    with_adapters = carry_out(
        {"compute": COMPUTE, "energy": ENERGY, "adapter": ADAPTER}, battery_kj=[10.0] * 4
    )
    # Local UEs send their adapters for 4 s; downloading costs a UE nothing.
    assert with_adapters.energy_kj == pytest.approx(np.array([[0.004, 0.004, 1.004, 2.004]]))


def test_an_empty_battery_sends_the_task_to_the_server():
    """UE 3 needs 2 kJ and has 1.9: it uploads, with the others, and downloads nothing."""
    outcome = carry_out({"compute": COMPUTE, "energy": ENERGY}, battery_kj=[10, 10, 1.0, 1.9])
    assert outcome.server.tolist() == [[True, True, False, True]]
    assert outcome.downloads.tolist() == [[False] * 4]
    assert outcome.cached.tolist() == CACHED.tolist()
    # Three share the uplink: 2/3 MHz each, an SNR of 4.5; they wait for 4 + 8 + 16 TFLOP.
    upload = 8 / (2 / 3 * np.log2(5.5))
    assert outcome.delay_s[0, 3] == pytest.approx(upload + 14.0)
    assert outcome.energy_kj[0, 3] == pytest.approx(upload / 1e3)
    assert outcome.battery_kj[0, 2] == 0.0  # All of it is enough.


def test_memory_cuts_the_emulator():
    """UE 3 has room for a fifth of the model, UE 2 for more than it asks for."""
    devices = dataclasses.replace(DEVICES, most_retention=np.array([[0.8, 0.8, 0.8, 0.2]]))
    outcome = carry_out({"compute": COMPUTE}, devices=devices)
    assert outcome.cached.tolist() == [[0.0, 0.3, 0.5, 0.2]]
    assert outcome.delay_s[0, 3] == pytest.approx(0.2 * 32 / 4 + 0.2 * 16 / 2)


def test_memories_become_retentions():
    memory = {"ue_memory_gb": [1.0, 2.0, 6.0]}
    scenario = Scenario.of({"model_size_gb": 5.0, "memory": memory, "num_ues": 200})
    drawn = draw_episode(scenario, streams(0, 1)).devices.most_retention
    assert set(drawn.ravel()) == {0.2, 0.4, 0.8}
    layers = dataclasses.replace(scenario, emulator_action="layers", memory=Memory())
    drawn = draw_episode(layers, streams(0, 1)).devices.most_retention
    # 2, 3, 4 and 6 GB of 5: 0.4, 0.6, 0.8 and more of 32 layers, of which 25 are the most.
    assert set(drawn.ravel()) == {12 / 32, 19 / 32, 25 / 32}


def test_the_emulators_perplexity_is_worse_than_the_plug_ins():
    """f(0.5) = 16.65 and f(0.25) = 22.7, times 1.2 and 1.3, and the factor (10 + 10) / 10."""
    outcome = carry_out({"emulator_tuned": {"excess": 0.4}})
    assert outcome.perplexity == pytest.approx(np.array([[28.0, 28.0, 39.96, 59.02]]))


def test_domains_have_levels_and_sensitivities():
    """Server: 14 and 28; local: 14 + 2 (16.65 - 14) = 19.3, and 2 (14 + 0) = 28."""
    domains = {"levels": [1.0, 2.0, 1.0], "sensitivities": [1.0, 0.0, 2.0]}
    outcome = carry_out({"domains": domains}, domain=np.array([[0, 1, 2, 1]]))
    assert outcome.perplexity == pytest.approx(2 * np.array([[14.0, 28.0, 19.3, 28.0]]))


def test_a_ue_without_a_task_does_nothing():
    parts = {"compute": COMPUTE, "adapter": ADAPTER, "energy": ENERGY, "arrivals": True}
    active = np.array([[True, False, True, False]])
    outcome = carry_out(parts, battery_kj=[10.0] * 4, active=active)
    # UE 0 has the uplink to itself, an SNR of 1.5; the downlink too, an SNR of 3.
    alone = 8 / (2 * np.log2(2.5))
    assert outcome.delay_s == pytest.approx(np.array([[alone + 2 + 2, 0, 2 + alone, 0]]))
    assert outcome.cached.tolist() == CACHED.tolist()
    assert outcome.perplexity[0, [1, 3]].tolist() == [0.0, 0.0]
    assert outcome.energy_kj[0, [1, 3]].tolist() == [0.0, 0.0]
    assert outcome.server.tolist() == [[True, False, False, False]]
    assert outcome.retention.tolist() == [[0.0, 0.0, 0.5, 0.0]]
    assert outcome.mean_perplexity == pytest.approx(outcome.perplexity.sum(axis=-1) / 4)


def test_the_metric_perplexity_is_the_mean_over_tasks():
    scenario = Scenario(num_ues=3, num_tasks=20, complexity=(10, 10), arrivals=PARTS["arrivals"]())
    simulator = Simulator(scenario, 5)
    simulator.reset(0)
    while not simulator.done:
        simulator.step(np.ones((5, 3), bool), np.full((5, 3), 0.5))
    assert simulator.episode_metrics()["perplexity"] == pytest.approx(np.full(5, 28.0))


@pytest.mark.parametrize("num_served", [0, 1, 3])
def test_decisions_are_shares_and_means_of_tasks(num_served):
    scenario = Scenario(num_ues=3, num_tasks=20, arrivals=PARTS["arrivals"]())
    simulator = Simulator(scenario, 5)
    simulator.reset(0)
    server = np.tile(np.arange(3) < num_served, (5, 1))
    tasks = np.zeros((5, 3))
    while not simulator.done:
        tasks += simulator.tasks.active
        simulator.step(server, np.full((5, 3), 0.5))
    assert len(np.unique(tasks)) > 1
    metrics = simulator.episode_metrics()
    share = tasks[:, :num_served].sum(axis=1) / tasks.sum(axis=1)
    np.testing.assert_array_equal(metrics["server_share"], share)
    trained = np.full(5, 0.5 if num_served < 3 else np.nan)
    np.testing.assert_array_equal(metrics["local_retention"], trained)


def test_an_empty_battery_counts_as_the_server():
    # A local training would take 0.5 * 10.8 TFLOP at 1e6 kJ each.
    parts = {
        "compute": {"tokens": [1e3, 1e3]},
        "energy": {"joule_per_tflop": 1e9, "battery_kj": [10.0, 10.0]},
    }
    simulator = Simulator(Scenario.of("published", num_ues=2, num_tasks=3, **parts))
    simulator.reset(0)
    while not simulator.done:
        simulator.step(np.zeros((1, 2), bool), np.full((1, 2), 0.5))
    metrics = simulator.episode_metrics()
    assert metrics["server_share"].tolist() == [1.0]
    assert np.isnan(metrics["local_retention"]).all()


# What was measured before there were any parts, to the last digit.
PUBLISHED = {
    "reward": [-17.67828877586299, -17.555319852870788],
    "total_delay_min": [40.012200559573394, 48.8175121830273],
    "perplexity": [25.475163823201665, 24.08459217121205],
    "emulator_changes": [10.0, 10.0],
}


def played(scenario):
    simulator, rng = Simulator(scenario, 2), np.random.default_rng(3)
    simulator.reset(7)
    while not simulator.done:
        simulator.step(rng.random((2, 3)) < 0.5, rng.uniform(0.2, 0.8, (2, 3)))
    return simulator.episode_metrics()


def test_field_with_its_parts_off_is_published_number_for_number():
    published = Scenario.of("published", num_ues=3, num_tasks=6)
    constants = {k: v for k, v in published.to_dict().items() if k not in PARTS}
    off = Scenario.of({"base": "field", **constants, **OFF})
    assert off == published
    metrics = played(off)
    assert {name: metrics[name].tolist() for name in PUBLISHED} == PUBLISHED


def test_parts_that_change_nothing_leave_every_number():
    on = {
        "compute": {"flops_per_parameter_and_token": 1e-300},
        "memory": {"ue_memory_gb": [10.8]},
        "energy": {"weight_per_kj": 0.0},
        "adapter": {"adapter_mb": 0.0},
        "emulator_tuned": {"excess": 0.0},
        "arrivals": {"probability": 1.0},
    }
    metrics = played(Scenario.of("published", num_ues=3, num_tasks=6, **on))
    assert {name: metrics[name].tolist() for name in PUBLISHED} == PUBLISHED
    alike = {"levels": [1.0], "sensitivities": [1.0]}
    metrics = played(Scenario.of("published", num_ues=3, num_tasks=6, domains=alike, **on))
    for name, values in PUBLISHED.items():
        assert metrics[name] == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize("part", ["compute", "memory", "energy", "domains", "arrivals"])
def test_what_a_part_draws_does_not_hang_on_the_others(part):
    base = Scenario(model_size_gb=5.4)
    alone = draw_episode(Scenario.of(base, **{part: True}), streams(1, 2))
    all_on = draw_episode(Scenario.of(base, **dict.fromkeys(PARTS, True)), streams(1, 2))
    for record in ("tasks", "devices"):
        own, among = getattr(alone, record), getattr(all_on, record)
        for field in dataclasses.fields(own):
            values = getattr(own, field.name)
            assert values is None or np.array_equal(values, getattr(among, field.name))


def test_draws_are_what_the_parts_say():
    scenario = Scenario.of("field", num_ues=50, num_tasks=400)
    episode = draw_episode(scenario, streams(0, 1))
    tasks, devices = episode.tasks, episode.devices
    assert set(devices.tflops.ravel()) == set(Compute().ue_tflops)
    assert 60 <= devices.battery_kj.min() <= devices.battery_kj.max() <= 180
    assert tasks.tokens.mean() == pytest.approx(3.5e5, rel=0.01)
    assert tasks.active.mean() == pytest.approx(0.9, abs=0.01)
    stays = (tasks.domain[1:] == tasks.domain[:-1]).mean()
    # With 0.8 it stays, else it draws the same again once in three times.
    assert stays == pytest.approx(0.8 + 0.2 / 3, abs=0.01)
    assert np.bincount(tasks.domain.ravel()) / tasks.domain.size == pytest.approx(
        [1 / 3] * 3, abs=0.03
    )


def test_parts_are_read_from_mappings():
    scenario = Scenario.of({"base": "field", "compute": {"server_tflops": 99}, "energy": None})
    assert scenario.compute.server_tflops == 99.0
    assert scenario.compute.tokens == Compute().tokens
    assert scenario.energy is None
    again = Scenario.of(scenario, compute={"ue_tflops": [1, 2]}, memory=False, domains=True)
    assert again.compute == Compute(server_tflops=99.0, ue_tflops=(1.0, 2.0))
    assert (again.memory, again.domains) == (None, scenario.domains)
    assert Scenario.of(again.to_dict()) == again


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"compute": 3}, "compute = 3: expected a mapping of its constants, true or false"),
        ({"compute": {"gpus": 1}}, "unknown compute key 'gpus': "),
        ({"energy": {"weight_per_kj": 1}}, "energy.weight_per_kj = 1: expected a number <= 0"),
        ({"compute": {"ue_tflops": []}}, "compute.ue_tflops = []: expected a list of numbers"),
        ({"compute": {"ue_tflops": [0]}}, "compute.ue_tflops = [0]: expected a number > 0"),
        ({"compute": {"tokens": [2, 1]}}, "scenario published.compute.tokens = [2, 1]: expected "),
        ({"domains": {"levels": [1]}}, "domains.sensitivities = [0.5, 1.0, 1.5]: expected 1, "),
        ({"domains": {"sensitivities": [1, 1, 90]}}, "scenario published.domains.sensitivities "),
        ({"memory": {"ue_memory_gb": [1]}}, "scenario published.memory.ue_memory_gb = [1.0]: "),
    ],
)
def test_what_is_refused(values, message):
    with pytest.raises(InputError) as caught:
        Scenario.of(values)
    assert str(caught.value).startswith(message)


def test_a_persistent_domain_never_changes():
    scenario = Scenario.of("field", domains=Domains(persistence=1.0))
    domain = draw_episode(scenario, streams(0, 2)).tasks.domain
    assert np.all(domain == domain[0])


def test_only_missing_layers_are_downloaded():
    """UE 2 cuts 0.2 from the 0.5 that it holds; UE 3 lacks 0.1, 3.2 Mbit at 4 Mbit/s."""
    retention = np.array([[0.8, 0.8, 0.2, 0.6]])
    scenario = Scenario.of(BARE, compute=COMPUTE, emulator_download="missing")
    outcome = step(scenario, Situation(TASKS, CACHED, DEVICES), SERVER, retention)
    assert outcome.downloads.tolist() == [[False, False, False, True]]
    assert outcome.cached == pytest.approx(np.array([[0.0, 0.3, 0.5, 0.6]]))
    # Training: 0.2 * 4 / 1 and 0.6 * 16 / 2 s.
    assert outcome.delay_s[0, 2:] == pytest.approx([0.8, 0.8 + 4.8])
    # f(0.2) = 24.288, though UE 2 holds more.
    assert outcome.perplexity[0, 2] == pytest.approx(2 * 24.288)
