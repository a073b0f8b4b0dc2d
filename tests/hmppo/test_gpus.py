"""GPUs that are asked for and not there: one clear error before anything is built."""

import pytest
import ray
import torch
from toy_teams import toy_config

from rllib_mec.errors import InputError
from rllib_mec.hmppo.learning.gpus import check_gpus


def learners(number, gpus):
    return toy_config().learners(num_learners=number, num_gpus_per_learner=gpus)


@pytest.fixture
def cluster(monkeypatch):
    """Sets what Ray's cluster has."""

    def has(**resources):
        monkeypatch.setattr(ray, "is_initialized", lambda: True)
        monkeypatch.setattr(ray, "cluster_resources", lambda: resources)

    return has


def test_a_local_learner_needs_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"num_gpus_per_learner = 0\.5: expected a CUDA device"):
        check_gpus(learners(0, 0.5))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_gpus(learners(0, 0.5))


def test_remote_learners_need_as_many_gpus_as_they_ask_for(cluster):
    cluster(CPU=8.0, GPU=3.0, memory=1e9)
    check_gpus(learners(3, 1))
    check_gpus(learners(6, 0.5))
    with pytest.raises(
        InputError,
        match=r"num_learners = 2, num_gpus_per_learner = 2: expected 4 GPU in Ray's cluster, "
        r"it has 3 \(CPU 8, GPU 3\): set",
    ):
        check_gpus(learners(2, 2))
    cluster(CPU=8.0)
    with pytest.raises(InputError, match=r"expected 1 GPU in Ray's cluster, it has 0 \(CPU 8\)"):
        check_gpus(learners(1, 1))


@pytest.mark.parametrize("number", [0, 2])
def test_learners_without_gpus_need_none(number, monkeypatch, cluster):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cluster(CPU=1.0)
    check_gpus(learners(number, 0))


@pytest.mark.ray
@pytest.mark.parametrize("number", [0, 1])
def test_an_algorithm_is_not_built_without_its_gpus(number, build, monkeypatch, cluster):
    cluster(CPU=4.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = learners(number, 1)
    config.validate()  # also where a run is only started, or a checkpoint evaluated
    with pytest.raises(InputError, match="num_gpus_per_learner = 1: expected"):
        build(config)
