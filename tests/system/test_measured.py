"""Measured curves in place of f(E): what they say, and that every scenario takes them."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from made_up_profiles import CODE, REFERENCE, write

from rllib_mec.envs import BatchedMECEnv, make_env
from rllib_mec.errors import InputError
from rllib_mec.system import Scenario
from rllib_mec.system.emulator import highest_useful_retention
from rllib_mec.system.measured import Measured, measured_of
from rllib_mec.system.measured_part import MeasuredQuality
from rllib_mec.system.parts import Domains
from rllib_mec.system.quality import complexity_factor, quality_of, task_perplexity

RETENTIONS = (0.2, 0.4, 0.6, 0.8, 1.0)
CURVES = tuple(tuple(curve.items()) for curve in (REFERENCE, CODE))
BY_HAND = {"curves": CURVES, "tasks": ["reference", "code"]}

perplexities = st.lists(st.floats(1.0, 100.0), min_size=5, max_size=5)


def measured(*curves, **options):
    options = {"server_perplexity": None} | options
    points = [tuple(zip(RETENTIONS, curve, strict=True)) for curve in curves]
    return Measured(MeasuredQuality(curves=points, **options))


def test_curves_go_through_what_was_measured():
    curves = measured([40, 30, 24, 21, 20], [12, 8, 7, 6, 5])
    e, domain = np.array([[0.2, 0.6, 0.8]]), np.array([[0, 1, 1]])
    assert curves.local(e, domain) == pytest.approx(np.array([[40.0, 7.0, 6.0]]))
    assert curves.server(domain) == pytest.approx(np.array([[20.0, 5.0, 5.0]]))
    # Without a domain: the mean over the tasks.
    assert curves.local(e, None) == pytest.approx(np.array([[26.0, 15.5, 13.5]]))
    assert curves.server(None) == pytest.approx(12.5)


def test_between_two_points_a_curve_is_the_cubic_of_fritsch_and_carlson():
    """Slopes at 0.6 are harmonic means: of -30 and -15, and of -15 and -5 at 0.8."""
    curves = measured([40, 30, 24, 21, 20])
    left, right = 2 / (1 / -30 + 1 / -15), 2 / (1 / -15 + 1 / -5)
    middle = (24 + 21) / 2 + 0.2 / 8 * (left - right)
    assert curves.local(np.array(0.7), None) == pytest.approx(middle)


def test_what_rises_is_pooled():
    curves = measured([40, 20, 22, 24, 10])
    assert curves.local(np.array(RETENTIONS), None) == pytest.approx([40, 22, 22, 22, 10])
    assert curves.local(np.array([0.5, 0.7]), None) == pytest.approx([22, 22])
    # An emulator cannot beat the whole model: both are what they are on average.
    assert measured([40, 30, 24, 18, 20]).server(None) == pytest.approx(19.0)


def test_the_servers_mean_is_scaled():
    curves = measured([40, 30, 24, 21, 20], [12, 8, 7, 6, 5], server_perplexity=14.0)
    assert curves.server(None) == pytest.approx(14.0)
    assert curves.server(np.array([0, 1])) == pytest.approx([14 * 1.6, 14 * 0.4])
    assert curves.local(np.array(0.2), np.array(0)) == pytest.approx(40 * 14 / 12.5)


def test_tasks_have_levels_and_sensitivities():
    """Straight lines: (local - server) / server is 1 and 0.5 at 0.2, and on average half that."""
    curves = measured([40, 35, 30, 25, 20], [6, 5.5, 5, 4.5, 4])
    assert curves.levels == pytest.approx((20 / 12, 4 / 12))
    assert curves.sensitivities == pytest.approx((1 / 0.75, 0.5 / 0.75))
    assert measured([9] * 5, [3] * 5).sensitivities == (1.0, 1.0)


def test_only_what_was_measured_of_all_tasks_counts():
    short = ((0.5, 9.0), (0.75, 7.0), (1.0, 6.0))
    curves = Measured(MeasuredQuality(curves=(CURVES[0], short), server_perplexity=None))
    assert curves.low == 0.5
    assert curves.local(np.array([0.6, 0.75]), np.array([0, 1])) == pytest.approx([24.0, 7.0])


@settings(deadline=None, max_examples=60)
@given(st.lists(perplexities, min_size=1, max_size=3))
def test_curves_never_rise_and_stay_within_what_was_measured(several):
    from scipy.optimize import isotonic_regression

    curves = measured(*several)
    for task, curve in enumerate(several):
        pooled = isotonic_regression(curve, increasing=False).x
        at = curves.local(np.array(RETENTIONS), np.array(task))
        np.testing.assert_allclose(at, pooled, rtol=1e-9)
        dense = curves.local(np.linspace(0.2, 1, 501), np.array(task))
        assert np.diff(dense).max() <= 1e-9
        assert min(curve) - 1e-9 <= dense.min() <= dense.max() <= max(curve) + 1e-9
        assert curves.server(np.array(task)) == pytest.approx(dense[-1])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(perplexities, min_size=1, max_size=3),
    st.sampled_from(["monotone", "smoothing_spline"]),
    st.floats(0.2, 0.5),
    st.floats(0.55, 1.0),
)
def test_the_least_and_the_greatest_curvature_are_found(several, interpolation, low, high):
    try:
        curves = measured(*several, interpolation=interpolation)
    except InputError:  # a smoothed curve below the server's
        reject()
    e = np.linspace(low, high, 2001)
    dense = curves.local(e, None)
    best = curves.least(low, high)
    assert low <= best <= high
    assert curves.local(np.array(best), None) <= dense.min() + 1e-9
    convexity = curves.convexity(np.linspace(low, high, 11))
    assert convexity.shape == (len(several), 10)
    for task, most in enumerate(convexity):
        assert (second_differences(curves, e, task) <= most * (1 + 1e-3) + 1e-2).all()


def second_differences(curves, e, task):
    """The greatest one in each of ten cells."""
    dense = curves.local(e, np.array(task))
    cells = np.lib.stride_tricks.sliding_window_view(dense, 201)[::200]
    return np.diff(cells, 2).max(axis=-1) / (e[1] - e[0]) ** 2


def test_the_greatest_curvature_is_no_greater_than_need_be():
    curves = measured([40, 30, 24, 21, 20], [12, 8, 7, 6, 5])
    # Cells that end where intervals do, so that there is no jump in any of them.
    convexity = curves.convexity(np.linspace(0.2, 0.4, 11))
    for task in range(2):
        second = second_differences(curves, np.linspace(0.2, 0.4, 2001), task)
        np.testing.assert_allclose(np.maximum(second, 0), convexity[task], rtol=0.05, atol=0.1)


@settings(deadline=None, max_examples=60)
@given(st.lists(perplexities, min_size=2, max_size=2), st.floats(-80.0, -1.0))
def test_stationary_points_have_the_slope_and_none_is_missing(several, slope):
    curves = measured(*several)
    domain = np.array([[0, 1]])
    found = curves.stationary(np.full((1, 2), slope), domain)
    e = np.linspace(0.2, 1, 4001)
    for task in range(2):
        cost = curves.local(e, np.array(task)) - slope * e
        at = found[0, task][np.isfinite(found[0, task])]
        assert ((at >= 0.2) & (at <= 1)).all()
        for point in at:
            h = min(1e-6, point - 0.2, 1 - point)
            if h > 1e-7:
                ends = curves.local(np.array([point - h, point + h]), np.array(task))
                assert (ends[1] - ends[0]) / (2 * h) == pytest.approx(slope, rel=1e-2, abs=0.1)
        inner = (cost[1:-1] < cost[:-2]) & (cost[1:-1] < cost[2:])
        assert all(np.abs(at - each).min() < 1e-3 for each in e[1:-1][inner])


def test_a_spline_smooths():
    noisy = measured([40, 30, 25, 21, 20], interpolation="smoothing_spline")
    assert noisy.server(None) == pytest.approx(20, abs=3)
    assert noisy.local(np.array(0.5), None) == pytest.approx(27.5, abs=3)
    with pytest.raises(InputError, match=r"task 0 is below the server's .* expected 'monotone'"):
        measured([5, 5, 5, 6, 20], interpolation="smoothing_spline")


@pytest.mark.parametrize(("retention", "said"), [([0.5, 0.19], "0.19"), ([0.5, 1.01], "1.01")])
def test_curves_are_not_continued(retention, said):
    with pytest.raises(InputError, match=rf"retention = {said}: expected within \[0.2, 1\]"):
        measured([40, 30, 24, 21, 20]).local(np.array([retention]), None)


def test_nothing_cached_and_rounding_are_no_retentions_outside():
    curves = measured([40, 30, 24, 21, 20])
    got = curves.local(np.array([0.0, 0.2 - 1e-9, 1 + 1e-9]), None)
    assert got == pytest.approx([40, 40, 20])
    assert curves.local(np.zeros((0, 3)), None).shape == (0, 3)


# The scenario.


def test_a_profile_is_read_once_and_kept_in_the_scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "p.parquet")
    scenario = Scenario.of({"quality": {"profile": "p.parquet"}})
    (tmp_path / "p.parquet").unlink()
    quality = scenario.quality
    assert quality.profile == str(tmp_path / "p.parquet")
    assert (quality.compression, quality.tasks) == ("layer_drop", ("reference", "code"))
    assert quality.curves == CURVES
    assert Scenario.of(scenario.to_dict()) == scenario
    assert Scenario.of(json.loads(json.dumps(scenario.to_dict()))) == scenario
    again = pickle.loads(pickle.dumps(scenario))
    assert (again, hash(again)) == (scenario, hash(scenario))
    # What needs no other numbers needs no file.
    splined = Scenario.of(scenario, quality={"interpolation": "smoothing_spline"}, num_ues=3)
    assert splined.quality.curves == CURVES
    assert Scenario.of(scenario, quality=True).quality == quality
    with pytest.raises(InputError, match="there is no such file"):
        Scenario.of(scenario, quality={"metric": "emulator_tuned"})


def test_what_says_which_numbers_are_meant_reads_the_file_again(tmp_path):
    base = Scenario.of({"quality": {"profile": write(tmp_path / "p.parquet")}})
    worse = Scenario.of(base, quality={"metric": "emulator_tuned"})
    assert worse.quality.curves[1] == ((0.2, 24.0), (0.4, 16.0), (0.6, 14.0), (0.8, 12.0), (1, 5.0))
    one = Scenario.of(worse, quality={"tasks": ["code"]})
    assert (one.quality.metric, one.quality.tasks) == ("emulator_tuned", ("code",))
    pruned = write(tmp_path / "q.parquet", {"law": REFERENCE}, compression="pruning")
    other = Scenario.of(one, quality={"profile": pruned})
    assert (other.quality.compression, other.quality.tasks) == ("pruning", ("law",))
    by_hand = Scenario.of(other, quality=BY_HAND)
    assert (by_hand.quality.profile, by_hand.quality.curves) == ("", CURVES)


def test_perplexities_of_a_scenario_are_the_measured_ones():
    scenario = Scenario.of({"quality": BY_HAND | {"server_perplexity": None}})
    server = np.array([[True, False]])
    got = task_perplexity(scenario, server, np.array([[0.2, 0.8]]), np.array([[10.0, 30.0]]))
    assert got == pytest.approx(np.array([[12.5 * 2, 13.5 * 4 / 3]]))
    plain = Scenario.of(scenario, complexity_factor="none", domains=True)
    domain = np.array([[1, 0]])
    got = task_perplexity(plain, server, np.array([[0.2, 0.8]]), np.array([[10.0, 30.0]]), domain)
    assert got == pytest.approx(np.array([[5.0, 21.0]]))
    assert complexity_factor(plain, np.array([10.0, 20.0])).tolist() == [1.0, 1.0]


def test_tasks_are_the_domains():
    scenario = Scenario.of({"quality": BY_HAND, "domains": {"persistence": 0.5}})
    expected = measured_of(scenario.quality)
    assert scenario.domains == Domains(
        levels=expected.levels, sensitivities=expected.sensitivities, persistence=0.5
    )
    # The order in which they are given does not matter, nor the layer.
    assert Scenario.of({"domains": {"persistence": 0.5}, "quality": BY_HAND}) == scenario
    assert Scenario.of({"domains": True}, domains={"persistence": 0.5}, quality=BY_HAND) == scenario
    assert Scenario.of("published", domains=Domains(persistence=0.5), quality=BY_HAND) == scenario
    assert Scenario.of(scenario.to_dict()) == scenario
    one = Scenario.of(scenario, quality={"curves": CURVES[:1]})
    assert (one.domains.levels, one.domains.persistence) == ((1.0,), 0.5)
    off = Scenario.of(scenario, quality=False)
    assert off == Scenario.of({"domains": {"persistence": 0.5}})
    assert Scenario.of(scenario.to_dict(), quality=False) == off
    own = {"levels": [1, 2], "sensitivities": [1, 1]}
    assert Scenario.of(scenario, quality=None, domains=own).domains.levels == (1.0, 2.0)
    assert Scenario.of(scenario, domains=False).domains is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quality": 3}, "quality = 3: expected a mapping of its values, true or false"),
        ({"quality": True}, "quality = {}: expected profile, the path of a measured one, or curv"),
        ({"quality": {"metric": "plug_in"}}, "quality = {'metric': 'plug_in'}: expected profile"),
        ({"quality": {"file": "x"}}, "unknown quality key 'file': did you mean 'profile'?"),
        ({"quality": {"profile": 3}}, "quality.profile = 3: expected the path of a measured pro"),
        ({"quality": {"profile": "/no/such.parquet"}}, "/no/such.parquet: there is no such file"),
        ({"quality": BY_HAND | {"metric": "loss"}}, "quality.metric = 'loss': expected one of "),
        ({"quality": BY_HAND | {"tasks": ["a"]}}, "quality.tasks = ['a']: expected 2, one for ea"),
        ({"quality": BY_HAND | {"tasks": "ab"}}, "quality.tasks = 'ab': expected a list of names"),
        ({"quality": BY_HAND | {"tasks": ["a", "a"]}}, "quality.tasks = ['a', 'a']: expected a l"),
        ({"quality": BY_HAND | {"server_perplexity": 0}}, "quality.server_perplexity = 0: expect"),
        ({"quality": {"curves": 7}}, "quality.curves = 7: expected a list of curves, or profile"),
        ({"quality": {"curves": [[[1, 5]]]}}, "quality.curves[0], which has 1: expected at least"),
        (
            {"quality": {"curves": [[[0.2, 9], [0.5, 8], [1, 5]]], "interpolation": "smoothing_s"}},
            "quality.interpolation = 'smoothing_s': expected one of monotone, smoothing_spline",
        ),
        (
            {"quality": {"curves": [CURVES[0][1:]], "interpolation": "smoothing_spline"}},
            "quality.curves[0], which has 4: expected at least 5 pairs of retention and perplex",
        ),
        ({"quality": {"curves": [[[0.2, 9], [1, 0]]]}}, "quality.curves[0] has [1, 0]: expected "),
        ({"quality": {"curves": [[[0.2], [1, 9]]]}}, "quality.curves[0] has [0.2]: expected pai"),
        (
            {"quality": {"curves": [[[0.5, 9], [0.2, 9], [1, 9]]]}},
            "quality.curves[0] has retentions [0.5, 0.2, 1.0]: expected them ascending up to 1",
        ),
        ({"quality": {"curves": [[[0.2, 9], [0.8, 9]]]}}, "quality.curves[0] has retentions [0.2"),
        (
            {"quality": BY_HAND, "retention": [0.1, 0.8]},
            "scenario published.retention = [0.1, 0.8]: expected it within [0.2, 1], the range "
            "that was measured (quality.curves)",
        ),
        (
            {"quality": BY_HAND, "emulator_tuned": True},
            "scenario published.emulator_tuned: expected false with quality, whose metric emulat",
        ),
        (
            {"quality": BY_HAND, "perplexity_coefficients": [25, -43, 32]},
            "scenario published.perplexity_coefficients = [25.0, -43.0, 32.0]: expected none",
        ),
        (
            {"quality": BY_HAND, "domains": {"levels": [1, 2]}},
            "domains.levels = [1, 2]: expected none with quality, whose curves give [1.6",
        ),
        (
            {"quality": BY_HAND, "domains": Domains(sensitivities=(1.0, 2.0, 3.0))},
            "domains.sensitivities = (1.0, 2.0, 3.0): expected none with quality, whose curves",
        ),
    ],
    ids=str,
)
def test_what_is_refused(values, message):
    with pytest.raises(InputError) as caught:
        Scenario.of(values)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_scenarios_that_are_put_together_by_hand_have_to_fit():
    quality = MeasuredQuality(**BY_HAND)
    with pytest.raises(InputError, match=r"domains.levels = \[0.9, 1.0, 1.1\]: expected \[1.6"):
        Scenario(quality=quality, domains=Domains())
    alike = Domains(levels=(1.0, 1.0), sensitivities=(1.0, 1.0))
    with pytest.raises(InputError, match=r"as measured \(Scenario.of fills them in\)"):
        Scenario(quality=quality, domains=alike)
    with pytest.raises(InputError, match=r"quality.curves = \(\): expected a list of curves, or"):
        MeasuredQuality(profile="p.parquet")


def test_a_spline_that_falls_to_zero_is_refused():
    falling = [(0.2, 90.0), (0.3, 1.0), (0.4, 0.6), (0.5, 0.5), (0.6, 0.5), (1.0, 0.5)]
    quality = {"curves": [falling], "interpolation": "smoothing_spline"}
    with pytest.raises(InputError, match=r"quality\.interpolation = 'smoothing_spline': a curve"):
        Scenario.of({"quality": quality})


def test_a_profile_with_several_compressions_needs_one_named(tmp_path):
    from made_up_profiles import rows_of

    from rllib_mec.system.profile import write_profile

    rows = rows_of({"a": REFERENCE})
    rows += [dataclasses.replace(r, compression="pruning") for r in rows if r.case == "local"]
    write_profile(tmp_path / "p.parquet", rows, {})
    quality = {"profile": str(tmp_path / "p.parquet")}
    with pytest.raises(InputError, match="has layer_drop, pruning: expected one of them"):
        Scenario.of({"quality": quality})
    assert Scenario.of({"quality": quality | {"compression": "pruning"}}).quality.tasks == ("a",)


@pytest.mark.parametrize(
    ("fields", "curve", "best"),
    [
        ({}, [40, 30, 24, 21, 20], 0.8),
        ({"emulator_action": "layers"}, [40, 30, 24, 21, 20], 25 / 32),
        # Of emulators that are as good, the smallest.
        ({}, [40, 30, 20, 20, 20], 0.6),
        ({"emulator_action": "layers", "num_layers": 10}, [40, 30, 20, 20, 20], 0.6),
        ({}, [40, 30, 22, 24, 20], 0.6),
        ({"retention": [0.2, 0.5]}, [40, 30, 24, 21, 20], 0.5),
    ],
)
def test_the_retention_to_hold(fields, curve, best):
    points = list(zip(RETENTIONS, curve, strict=True))
    scenario = Scenario.of(fields, quality={"curves": [points, points]})
    assert highest_useful_retention(scenario) == pytest.approx(best)


@pytest.mark.parametrize("base", ["published", "field", "field-64ue"])
def test_environments_run_on_measured_curves(base):
    scenario = {"scenario": base, "num_tasks": 5, "emulator_tuned": False, "quality": BY_HAND}
    env, batched = make_env(scenario), BatchedMECEnv(scenario, 3)
    observations, _ = env.reset(seed=0)
    batched.reset([0, 1, 2])
    for _ in range(5):
        actions = {agent: space.sample() for agent, space in env.action_spaces.items()}
        observations, rewards, _, truncated, _ = env.step(actions)
        assert all(np.isfinite(seen).all() for seen in observations.values())
        actions = {
            agent: np.stack([space.sample() for _ in range(3)])
            for agent, space in batched.action_spaces.items()
        }
        seen, reward, _, _ = batched.step(actions)
        assert np.isfinite(reward).all()
        assert all(np.isfinite(each).all() for each in seen.values())
        assert all(np.isfinite(list(rewards.values())))
    assert truncated["__all__"]
    quality = quality_of(env.scenario)
    perplexity = batched.simulator.episode_metrics()["perplexity"]
    factor = complexity_factor(env.scenario, np.array(env.scenario.complexity))
    least, most = quality.lowest_on(0.2), 40 * 14 / 12.5
    assert (least * factor.min() <= perplexity).all()
    assert (perplexity <= most * factor.max()).all()
