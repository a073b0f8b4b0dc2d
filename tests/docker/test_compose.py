"""compose.yaml: of the specification, safe, and consistent with the Dockerfile and with Ray."""

import copy
import re

import pytest
from compose_rules import option, problems
from container_commands import CommandError, check
from docker_files import COMPOSE, ROOT, compose
from kubernetes_rules import IMAGE

import rllib_mec

SERVICES = ("head", "worker", "gpu-worker")


def test_it_is_as_it_should_be():
    document = compose()
    assert tuple(document["services"]) == SERVICES
    assert problems(document) == []


def put(*path, value=None):
    """A change that sets what is at the path; None takes it away."""

    def change(document):
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        if value is None:
            del inner[path[-1]]
        else:
            inner[path[-1]] = value

    return change


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("usr", "1000:100", "'usr' was unexpected"),
        ("restart", 5, "is not of type 'string'"),
        ("restart", "no", "is not started again"),
        ("image", "rllib-mec:latest", "is not rllib-mec:VERSION-PLATFORM"),
        ("image", "rllib-mec:0.1.0-gpu", "is not rllib-mec:VERSION-PLATFORM"),
        ("user", "root", "may be root"),
        ("user", "0:100", "may be root"),
        ("user", None, "may be root"),
        ("cap_drop", None, "has capabilities"),
        ("cap_add", ["SYS_ADMIN"], "has capabilities"),
        ("security_opt", None, "may gain privileges"),
        ("read_only", None, "its root can be written"),
        ("privileged", True, "privileged"),
        ("network_mode", "host", "network_mode"),
        ("secrets", None, "is none of its secrets"),
        ("ports", ["8265:8265"], "open to the network"),
        ("ports", ["0.0.0.0:8265:8265"], "open to the network"),
        ("volumes", None, "does not see /results"),
        ("volumes", ["results:/results", "/:/host"], "is of the host"),
        ("shm_size", "64m", "do not fit into shm_size"),
    ],
)
def test_a_service_that_is_not_as_it_should_be(service, key, value, said):
    document = copy.deepcopy(compose())
    put("services", service, key, value=value)(document)
    found = problems(document)
    assert any(said in problem and service in problem for problem in found), found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("services", "head", "environment", "RAY_AUTH_MODE"), "does not ask for the token"),
        (
            put("services", "worker", "environment", "RAY_AUTH_MODE", value="disabled"),
            "does not ask for the token",
        ),
        (
            put("services", "worker", "environment", "RAY_AUTH_TOKEN", value="x"),
            "its token is in the environment",
        ),
        (put("secrets", "ray_token", value={"external": True}), "is not read from a file"),
        (put("services", "worker", "depends_on"), "does not wait for the head"),
        (put("services", "worker", "deploy", "resources", "limits"), "no limits"),
        (
            put("services", "worker", "deploy", "resources", "limits", "cpus", value="1"),
            "promises more CPUs",
        ),
        (
            put("services", "gpu-worker", "deploy", "resources", "reservations"),
            "do not fit together",
        ),
        (
            put("services", "worker", "build", "args", "PLATFORM", value="cu130"),
            "is built for cu130",
        ),
    ],
)
def test_a_file_that_is_not_as_it_should_be(change, said):
    document = copy.deepcopy(compose())
    change(document)
    found = problems(document)
    assert any(said in problem for problem in found), found


def test_images_are_of_this_version():
    for service in compose()["services"].values():
        assert IMAGE.fullmatch(service["image"])["version"] == rllib_mec.__version__
        assert (COMPOSE.parent / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("service", SERVICES)
def test_ray_accepts_the_commands(service):
    command = compose()["services"][service]["command"]
    assert check(command) == [command]


@pytest.mark.parametrize(
    "command", ["ray start --haed", "ray begin", "rllib train file nowhere.yaml", "bash"]
)
def test_commands_that_nobody_accepts(command):
    with pytest.raises(CommandError):
        check(command)


def test_workers_join_the_head_that_there_is():
    services = compose()["services"]
    port = option(services["head"]["command"], "--port")
    for name in ("worker", "gpu-worker"):
        assert option(services[name]["command"], "--address") == f"head:{port}"
    dashboard = option(services["head"]["command"], "--dashboard-port")
    assert services["head"]["ports"][0].endswith(f":{dashboard}")


def test_a_job_that_is_stopped_has_time_to_save():
    from ray.dashboard.modules.job.job_supervisor import JobSupervisor

    waits = int(compose()["services"]["head"]["environment"]["RAY_JOB_STOP_WAIT_TIME_S"])
    assert waits > 10 * JobSupervisor.DEFAULT_RAY_JOB_STOP_WAIT_TIME_S


def test_the_token_is_no_part_of_the_repository():
    path = COMPOSE.parent / compose()["secrets"]["ray_token"]["file"]
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert f"/{path.parent.relative_to(ROOT).as_posix()}/" in ignored
    assert not re.search(r"[0-9a-f]{32}", COMPOSE.read_text(encoding="utf-8"))
