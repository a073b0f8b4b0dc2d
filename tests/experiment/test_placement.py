"""Where a trial's processes go: groups, refusals, and what is said while a cluster is too small."""

import json
import pickle

import pytest
from ray.tune import PlacementGroupFactory

from rllib_mec.errors import InputError
from rllib_mec.experiment import interrupt, placement, resources
from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.resources import Node
from rllib_mec.experiment.spec import make

CPU = {"CPU": 1.0}


def plan(config=None, **form):
    settings = {"num_env_runners": 4, **(config or {})}
    return prepare(make("exp", {"run": "PPO", "env": "CartPole-v1", "config": settings, **form}))


@pytest.mark.parametrize(
    ("config", "form", "message"),
    [
        (
            {"placement_strategy": "SPRED"},
            {},
            "config.placement_strategy = 'SPRED': did you mean 'SPREAD'?",
        ),
        ({"placement_strategy": "spread"}, {}, "did you mean 'SPREAD'?"),
        ({"placement_strategy": "x"}, {}, "expected one of PACK, SPREAD, STRICT_PACK, STRICT_S"),
        ({}, {"env_runners_per_node": 0}, "env_runners_per_node = 0: expected a number greater"),
        (
            {"num_env_runners": 0},
            {"env_runners_per_node": 1},
            "env_runners_per_node = 1: there are none: expected config.num_env_runners ≥ 1",
        ),
        (
            {"placement_strategy": "PACK"},
            {"env_runners_per_node": 1},
            "config.placement_strategy = 'PACK': expected none beside env_runners_per_node",
        ),
    ],
)
def test_placements_that_make_no_sense_are_refused(config, form, message):
    with pytest.raises(InputError) as caught:
        plan(config, **form)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_baselines_have_no_runners_to_place():
    form = {"run": "hold", "env": "mec", "env_runners_per_node": 1}
    with pytest.raises(InputError, match="env_runners_per_node = 1: Hold starts no environment"):
        prepare(make("exp", {**form, "config": {"num_env_runners": 2}}))


def test_a_strategy_among_several_is_checked_too():
    with pytest.raises(InputError, match="did you mean 'SPREAD'"):
        plan({"placement_strategy": {"grid_search": ["PACK", "SPREAT"]}})


def test_settings_of_placement_reach_the_request():
    made = plan(
        {
            "placement_strategy": "SPREAD",
            "num_env_runners": 2,
            "num_cpus_per_env_runner": 2,
            "custom_resources_per_env_runner": {"trace": 1},
            "num_learners": 1,
            "num_gpus_per_learner": 1,
        }
    )
    request = placement.request_of(made.configs[0])
    assert request.strategy == "SPREAD"
    assert request.bundles == [CPU, *[{"CPU": 2.0, "trace": 1.0}] * 2, {"GPU": 1.0}]
    assert placement.in_words(made.configs[0], request) == (
        "main process 1 CPU; 2 env runners 2 CPU, 1 trace each; learner 1 GPU"
    )


def test_groups_hold_what_a_node_holds():
    made = plan(
        {
            "num_env_runners": 5,
            "num_cpus_per_env_runner": 2,
            "num_learners": 1,
            "evaluation_interval": 1,
            "evaluation_num_env_runners": 1,
        },
        env_runners_per_node=2,
    )
    (config,) = made.configs
    request = made.trainable.default_resource_request(config)
    # The first node: main process, learner, evaluation runner (as large as the others), 2 runners.
    assert request.groups == [{"CPU": 8.0}, {"CPU": 4.0}, {"CPU": 2.0}]
    assert request.strategy == "STRICT_SPREAD"
    assert request.required_resources == {"CPU": 14.0}
    assert request == placement.request_of(config, 2)
    # Tune gives all of the first of `bundles` to the trial's process.
    assert request.bundles[0] == CPU
    assert placement.in_words(config, request) == "node 1 8 CPU; node 2 4 CPU; node 3 2 CPU"
    again = pickle.loads(pickle.dumps(request))
    assert (again.groups, again.bundles) == (request.groups, request.bundles)


def test_the_main_process_keeps_its_gpu():
    made = plan({"num_env_runners": 2, "num_gpus_per_learner": 1}, env_runners_per_node=1)
    request = made.trainable.default_resource_request(made.configs[0])
    assert request.groups == [{"CPU": 2.0, "GPU": 1.0}, CPU]
    assert request.bundles[0] == {"CPU": 1.0, "GPU": 1.0}


def test_the_groups_do_not_change_what_an_algorithm_is_called():
    for made in (plan(env_runners_per_node=2), plan()):
        assert made.trainable.__name__ == made.configs[0].algo_class.__name__ == "PPO"
        assert issubclass(made.trainable, made.configs[0].algo_class)


@pytest.mark.ray
def test_runners_start_in_the_bundle_of_their_group(ray_session, tmp_path, capsys):
    """RLlib would look for the second runner in a third bundle, which is not there."""
    from rllib_mec.experiment.checkpoints import reading
    from rllib_mec.experiment.run import Options, run

    made = plan(
        {
            "num_env_runners": 2,
            "evaluation_interval": 1,
            "evaluation_num_env_runners": 1,
            "evaluation_duration": 1,
            "train_batch_size_per_learner": 100,
            "minibatch_size": 100,
            "num_epochs": 1,
        },
        env_runners_per_node=2,
        stop={"training_iteration": 1},
        storage_path=str(tmp_path),
    )
    assert run([made], Options()) == 0, capsys.readouterr()
    (saved,) = tmp_path.glob("exp/PPO_*/checkpoint_*")
    assert reading.read(saved, None, {}, trust=False).config.num_env_runners == 2


NODES = [Node("10.0.0.1", {"CPU": 4.0, "memory": 1e9}), Node("10.0.0.2", {"CPU": 1.0})]


@pytest.fixture
def no_autoscaler(monkeypatch):
    monkeypatch.setattr(resources, "has_autoscaler", lambda: False)


def test_a_cluster_that_is_large_enough_is_not_waited_for(no_autoscaler, capsys):
    resources.check_cluster(plan({"num_env_runners": 4}), 60.0, lambda: NODES, pytest.fail)
    assert not capsys.readouterr().out


def test_a_cluster_that_stays_too_small_is_one_line_after_the_wait(no_autoscaler, capsys):
    slept = []
    with pytest.raises(InputError) as caught:
        resources.check_cluster(plan({"num_env_runners": 7}), 60.0, lambda: NODES, slept.append)
    needs = (
        "exp: a trial needs 8 CPU in all, and there are 5 CPU (it needs main process 1 CPU; "
        "7 env runners 1 CPU each; the cluster has 10.0.0.1 4 CPU; 10.0.0.2 1 CPU)"
    )
    assert str(caught.value) == f"{needs}; waited 1m 00s for it (--wait-for-resources)"
    assert sum(slept) == 60.0
    assert capsys.readouterr().out == f"{needs.replace('exp: ', 'exp: waiting 1m 00s: ')}\n"


def test_a_node_that_comes_ends_the_wait(no_autoscaler, capsys):
    there = list(NODES)
    grow = [lambda: None, lambda: there.append(Node("10.0.0.3", {"CPU": 8.0}))]
    resources.check_cluster(
        plan({"num_env_runners": 7}), 60.0, lambda: there, lambda _: grow.pop(0)()
    )
    assert not grow
    assert capsys.readouterr().out.count("\n") == 1


def test_groups_need_as_many_nodes(no_autoscaler):
    made = plan({"num_env_runners": 3}, env_runners_per_node=1)
    with pytest.raises(InputError, match="a trial needs 3 nodes, and there are 2"):
        resources.check_cluster(made, 0.0, lambda: NODES, pytest.fail)
    resources.check_cluster(
        plan({"num_env_runners": 2}, env_runners_per_node=1), 0.0, lambda: NODES, pytest.fail
    )


def test_a_ray_of_our_own_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(resources, "nodes", lambda: [Node("127.0.0.1", {"CPU": 4.0})])
    monkeypatch.setattr(resources.ray, "cluster_resources", lambda: {"CPU": 4.0})
    resources.check_own(plan({"num_env_runners": 3}))
    with pytest.raises(InputError, match="exp: a trial needs 5 CPU, Ray has 4: lower "):
        resources.check_own(plan({"num_env_runners": 4}))
    with pytest.raises(InputError, match="needs 2 nodes, and there is 1: give --address of a clu"):
        resources.check_own(plan({"num_env_runners": 2}, env_runners_per_node=1))


def test_an_autoscaler_is_not_waited_for(monkeypatch, capsys):
    monkeypatch.setattr(resources, "has_autoscaler", lambda: True)
    resources.check_cluster(plan({"num_env_runners": 7}), 60.0, lambda: NODES, pytest.fail)
    line = capsys.readouterr().out
    assert "a trial needs 8 CPU in all, and there are 5 CPU" in line
    assert line.endswith(": left to the cluster's autoscaler\n")


def test_a_signal_ends_the_wait(no_autoscaler, monkeypatch):
    monkeypatch.setattr(interrupt, "requested", lambda: True)
    slept = []
    resources.check_cluster(plan({"num_env_runners": 7}), 60.0, lambda: NODES, slept.append)
    assert len(slept) == 1


class FakeTrial:
    PENDING, RUNNING = "PENDING", "RUNNING"
    experiment_tag, config = "", {}
    placement_group_factory = PlacementGroupFactory([CPU] * 8)

    def __init__(self, name, status):
        self.trial_id, self.status = name, status


@pytest.fixture
def waiting(capsys):
    """A callback whose clock the test sets, and the lines that each step prints."""
    now = [1000.0]
    config = plan({"num_env_runners": 7}).configs[0]
    callback = resources.PendingTrials(config, look=lambda: NODES, clock=lambda: now[0])

    def step(seconds, trials):
        now[0] += seconds
        callback.on_step_end(0, trials)
        return capsys.readouterr().out.splitlines()

    return callback, step


def test_trials_that_cannot_run_are_told_of_every_minute(waiting):
    _, step = waiting
    trials = [FakeTrial("a", "PENDING"), FakeTrial("b", "PENDING")]
    assert step(0.0, trials) == []
    assert step(59.0, trials) == []
    assert step(1.0, trials) == [
        "a has waited 1m 00s: it needs main process 1 CPU; 7 env runners 1 CPU each; the cluster "
        "has 10.0.0.1 4 CPU; 10.0.0.2 1 CPU: missing is 8 CPU in all, and there are 5 CPU"
    ]
    assert step(59.0, trials) == []
    assert len(step(1.0, trials)) == 1
    trials[0].status = "RUNNING"
    assert step(120.0, trials) == []


def test_a_trial_that_lost_its_node_is_told_of_beside_running_ones(waiting):
    callback, step = waiting
    trials = [FakeTrial("a", "RUNNING"), FakeTrial("b", "RUNNING"), FakeTrial("new", "PENDING")]
    callback.on_trial_start(0, trials, trials[1])
    assert step(0.0, trials) == []
    trials[1].status = "PENDING"
    assert step(60.0, trials) == []
    (line,) = step(60.0, trials)
    assert line.startswith("b has waited 1m 00s: ")


def test_the_callback_survives_being_saved_with_the_run(waiting):
    callback = resources.PendingTrials(plan().configs[0])
    assert pickle.loads(pickle.dumps(callback))._since == {}


@pytest.mark.parametrize(
    ("types", "grows"),
    [
        (None, False),
        ({"node_aa": 1, "node_bb": 1, "node_cc": 1}, False),
        ({"ray.head.default": 1}, True),
        ({"node_aa": 1, "headgroup": 1}, True),
    ],
)
def test_an_autoscaler_is_known_by_its_types_of_nodes(types, grows, monkeypatch):
    """Statuses as Ray's monitor writes them; a dead node is among the listed ones for a while."""
    report = {"active_nodes": types, "pending_launches": {}}
    status = None if types is None else json.dumps({"autoscaler_report": report}).encode()
    keys = {resources.DEBUG_AUTOSCALING_STATUS: status}
    monkeypatch.setattr(resources, "_internal_kv_get", lambda key, **_: keys.get(key))
    ids = [{"NodeID": name, "Alive": name != "cc"} for name in ("aa", "bb", "cc")]
    monkeypatch.setattr(resources.ray, "nodes", lambda: ids)
    assert resources.has_autoscaler() is grows


@pytest.mark.parametrize(("types", "grows"), [(["node_aa"], False), (["node_aa", "cpus"], True)])
def test_rays_second_autoscaler_reports_elsewhere(types, grows, monkeypatch):
    from types import SimpleNamespace

    import ray.autoscaler.v2.sdk

    nodes = [SimpleNamespace(ray_node_type_name=name) for name in types]
    status = SimpleNamespace(active_nodes=nodes[:1], idle_nodes=nodes[1:])
    keys = {resources.GCS_AUTOSCALER_V2_ENABLED_KEY: b"1"}
    monkeypatch.setattr(resources, "_internal_kv_get", lambda key, **_: keys.get(key))
    monkeypatch.setattr(resources.ray, "nodes", lambda: [{"NodeID": "aa", "Alive": True}])
    here = SimpleNamespace(gcs_address="127.0.0.1:1")
    monkeypatch.setattr(resources.ray, "get_runtime_context", lambda: here)
    monkeypatch.setattr(ray.autoscaler.v2.sdk, "get_cluster_status", lambda address: status)
    assert resources.has_autoscaler() is grows
