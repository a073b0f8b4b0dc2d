"""The Ray that a run starts for itself."""

import pytest
import ray

from rllib_mec.experiment.run import Options, ray_session


@pytest.mark.parametrize(("told", "expected"), [(None, {"OMP_NUM_THREADS": "1"}), ("4", {})])
def test_its_processes_have_one_thread_unless_told_otherwise(monkeypatch, told, expected):
    started = []
    monkeypatch.setattr(ray, "init", lambda **settings: started.append(settings))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    with ray_session(Options(num_cpus=3, num_gpus=0)):
        pass
    (settings,) = started
    assert settings["runtime_env"] == {"env_vars": expected}
    assert (settings["address"], settings["num_cpus"], settings["num_gpus"]) == ("local", 3, 0)
