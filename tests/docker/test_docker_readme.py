"""The commands of docker/README.md: accepted by their programs, about files that exist."""

import re

import pytest
from container_commands import CommandError, check
from docker_files import DOCKER, ROOT, arguments

README = (DOCKER / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
]
SHELL = ("kubectl", "docker build", "docker run", "head=")


@pytest.mark.parametrize("line", [line for line in COMMANDS if not line.startswith(SHELL)])
def test_commands_are_accepted(line):
    for part in line.split(" && "):
        check(part.partition(" > ")[0])


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("kubectl exec")])
def test_commands_for_pods_are_accepted(line):
    assert check(line.split(" -- ", 1)[1])


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("docker run")])
def test_commands_for_one_container_are_accepted(line):
    image = f" rllib-mec:{arguments()['VERSION']}-cpu "
    assert check(line.partition(image)[2])


def test_there_are_commands_of_each_kind():
    found = " ".join(" ".join(words[:3]) for line in COMMANDS for words in _words(line))
    for kind in ("ray job submit", "ray job stop", "ray job status", "rllib train file"):
        assert kind in found


def _words(line):
    try:
        return check(line)
    except CommandError:
        return []


@pytest.mark.parametrize(
    "line",
    [
        "docker compose -f docker/nowhere.yaml up",
        "docker compose -f docker/compose.yaml --profile tpu up",
        "docker compose -f docker/compose.yaml up -d --scale workers=3",
        "docker compose -f docker/compose.yaml exec haed ray status",
        "docker compose -f docker/compose.yaml exec head ray job submit --adress x -- rllib list",
        "docker compose -f docker/compose.yaml exec head ray job submit -- rllib train fil x.yaml",
    ],
)
def test_commands_that_nobody_accepts(line):
    with pytest.raises(CommandError):
        check(line)


def test_files_that_are_named_exist():
    named = re.findall(r"(?:-f |\()((?:docker|\.\.|kuberay)/[\w./-]+|[\w-]+\.sh)", README)
    assert len(named) > 10
    for name in named:
        base = ROOT if name.startswith("docker/") else DOCKER
        assert (base / name).exists(), name


def test_builds_are_those_of_the_dockerfile():
    builds = [line for line in COMMANDS if line.startswith("docker build")]
    assert len(builds) == 2
    for line in builds:
        given = dict(re.findall(r"--build-arg (\w+)=(\S+)", line))
        values = arguments(**given)
        assert set(given) <= set(values)
        assert f"-t rllib-mec:{values['VERSION']}-{values['PLATFORM']} " in line
    for name in re.findall(r"`([A-Z_]+)`", README.partition("## Compose")[0].partition("|")[2]):
        assert name in arguments()
