"""``rllib serve --address``: a cluster that serves until the command ends, and then no longer."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from heads import ROOT, free_ports, head

pytestmark = pytest.mark.cluster

YAML = """
exp:
  run: HMPPO
  env: mec
  stop: {training_iteration: 1}
  config: {env_config: {num_ues: 3}}
"""


@pytest.fixture(scope="module")
def cluster():
    with head(2, env={"PYTHONPATH": str(ROOT)}) as started:
        yield started


@pytest.fixture(scope="module")
def exported(cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    (folder / "f.yaml").write_text(YAML)
    trained = cluster.rllib("train", "file", "f.yaml", "--storage-path", str(folder), cwd=folder)
    assert trained.returncode == 0, trained.stderr
    (checkpoint,) = folder.glob("exp/*/checkpoint_*")
    done = cluster.rllib("export", str(checkpoint), "--out", "policy", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "policy"


def serve(cluster, exported, port):
    command = [sys.executable, "-m", "rllib_mec.cli", "serve", str(exported)]
    process = subprocess.Popen(
        [*command, "--address", cluster.address, "--port", str(port)],
        env={**cluster.env, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline()


def test_the_cluster_serves_until_ctrl_c_and_again(cluster, exported):
    ue = {"gain_db": -84.2, "complexity": 17, "data_mb": 420, "cached_retention": 0.8}
    for _ in range(2):
        (port,) = free_ports(1)
        process, line = serve(cluster, exported, port)
        assert line.startswith(f"serving {exported} at http://127.0.0.1:{port} without a token")
        other, _ = serve(cluster, exported, port)
        _, errors = other.communicate(timeout=120)
        assert other.returncode == 2
        assert "the cluster has a Ray Serve already, with rllib-serve" in errors
        assert errors.count("\n") == 1
        url = f"http://127.0.0.1:{port}"
        request = urllib.request.Request(
            f"{url}/decide",
            json.dumps({"ues": [ue] * 3}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert len(json.loads(answer.read())["ues"]) == 3
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0
        assert "Traceback" not in errors
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"{url}/health", timeout=5)
