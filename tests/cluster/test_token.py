"""A cluster that wants a token: who has none is refused, in one line, and so is another one."""

import secrets
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from heads import ROOT, head

pytestmark = pytest.mark.cluster

YAML = """
exp:
  run: random
  env: mec
  stop: {training_iteration: 1}
  config: {env_config: {num_ues: 3}}
"""


def token(folder: Path, name: str) -> dict[str, str]:
    """Returns the variables of a client that has a token of its own."""
    file = folder / name
    file.touch(mode=0o600)
    file.write_text(secrets.token_hex(32))
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(file), "HOME": str(folder)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    # The nodes import the package, which nobody brings along who joins without a job.
    env = token(tmp_path_factory.mktemp("token"), "right") | {"PYTHONPATH": str(ROOT)}
    with head(2, env=env) as started:
        yield started


CLIENTS = {
    "no mode": (
        {"RAY_AUTH_MODE": "disabled"},
        "it wants a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file that holds",
    ),
    "no token": (
        {"RAY_AUTH_TOKEN_PATH": "/nowhere/token"},
        "RAY_AUTH_MODE=token, and there is no token in /nowhere/token",
    ),
    "another token": ({"RAY_AUTH_TOKEN_PATH": "{folder}/wrong"}, "wrong is not the cluster's"),
}


@pytest.fixture(params=CLIENTS)
def stranger(request, tmp_path):
    """The environment of a client that must stay out, and why."""
    env, message = CLIENTS[request.param]
    token(tmp_path, "wrong")
    (tmp_path / "f.yaml").write_text(YAML)
    return {key: value.format(folder=tmp_path) for key, value in env.items()}, message


def test_http_without_the_token_is_unauthorised(cluster):
    request = urllib.request.Request(
        f"{cluster.dashboard}/api/jobs/",
        data=b'{"entrypoint": "true"}',
        headers={"Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 401


def test_submit_is_one_line(cluster, stranger, tmp_path):
    env, message = stranger
    done = cluster.rllib(
        "submit", "f.yaml", "--address", cluster.dashboard, "--storage-path", str(tmp_path),
        cwd=tmp_path, env=env,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: no access to Ray at {cluster.dashboard}: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_train_is_one_line(cluster, stranger, tmp_path):
    env, message = stranger
    done = cluster.rllib(
        "train", "file", "f.yaml", "--address", cluster.address, cwd=tmp_path, env=env
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: no access to Ray at {cluster.address}: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_node_does_not_join(cluster, stranger):
    env, _ = stranger
    node = cluster.add(1, env=env, wait=False)
    assert node.process.wait(timeout=120) != 0
    assert "Ray runtime started" not in node.log.read_text()


def test_with_the_token_all_of_it_works(cluster, tmp_path):
    (tmp_path / "f.yaml").write_text(YAML)
    cluster.add(2)
    storage = ["--storage-path", str(tmp_path / "results")]
    submitted = cluster.rllib(
        "submit", "f.yaml", "--address", cluster.dashboard, *storage, cwd=tmp_path
    )
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert "exp: random on mec, until training_iteration 1" in submitted.stdout
    joined = cluster.rllib(
        "train", "file", "f.yaml", "--name", "joined", "--address", cluster.address, *storage,
        cwd=tmp_path,
    )  # fmt: skip
    assert joined.returncode == 0, joined.stdout + joined.stderr
