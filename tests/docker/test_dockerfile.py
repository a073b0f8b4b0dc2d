"""The Dockerfile: linted, its versions those of setup.cfg, everything in it that it needs."""

import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from docker_files import DOCKERFILE, IMAGE_FOLDER, ROOT, arguments, expand, instructions, setup
from packaging.specifiers import SpecifierSet

import rllib_mec

BASE_IMAGE = re.compile(
    r"docker\.io/rayproject/ray:(?P<ray>\d+\.\d+\.\d+)-py3(?P<python>\d+)-(?P<platform>cpu|cu\d+)"
)
PLATFORMS = ("cpu", "cu130")


def hadolint(text):
    """hadolint's exit status and what it says of a Dockerfile."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program = shutil.which("hadolint", path=places)
    assert program, 'no hadolint: pip install -e ".[test]"'
    result = subprocess.run(
        [program, "-"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    return result.returncode, result.stdout


def required(name):
    """The versions of a package that setup.cfg allows."""
    lines = setup()["options"]["install_requires"].splitlines()
    (spec,) = [line for line in lines if re.match(rf"{name}\b", line)]
    return SpecifierSet(re.sub(rf"^{name}(\[\w+\])?", "", spec))


def of(name, text=None):
    return [rest for each, rest in instructions(text) if each == name]


def test_hadolint_has_nothing_to_say():
    assert hadolint(DOCKERFILE.read_text(encoding="utf-8")) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("USER 1000:100", "USER 0", "DL3002"),
        ("FROM ${BASE_IMAGE}\n", "FROM rayproject/ray:latest\n", "DL3007"),
        ("FROM ${BASE_IMAGE}\n", "FROM rayproject/ray\n", "DL3006"),
        ("--no-cache-dir", "", "DL3042"),
        ("WORKDIR /source", "WORKDIR source", "DL3000"),
    ],
)
def test_hadolint_finds_what_is_wrong(old, new, rule):
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert old in text
    status, said = hadolint(text.replace(old, new))
    assert status == 1
    assert rule in said


@pytest.mark.parametrize("platform", PLATFORMS)
def test_base_images_are_pinned(platform):
    values = arguments(PLATFORM=platform)
    match = BASE_IMAGE.fullmatch(values["BASE_IMAGE"])
    assert match, values["BASE_IMAGE"]
    assert match["platform"] == platform
    assert match["ray"] == values["RAY_VERSION"]
    assert values["TORCH_INDEX_URL"].endswith(f"/{platform}")
    assert f"3.{match['python']}" in SpecifierSet(setup()["options"]["python_requires"])
    bases = {rest.split(" AS ")[0] for rest in of("FROM")}
    assert bases == {"${BASE_IMAGE}"}


@pytest.mark.parametrize(
    "tag", ["latest", "2.60.0", "2.60.0-gpu", "2.60.0-py311", "2.60.0-py311-gpu", "nightly-cpu"]
)
def test_tags_that_move_are_not_taken_for_pinned(tag):
    assert not BASE_IMAGE.fullmatch(f"docker.io/rayproject/ray:{tag}")


def test_versions_are_within_those_of_the_package():
    values = arguments()
    assert values["RAY_VERSION"] in required("ray")
    assert values["TORCH_VERSION"] in required("torch")
    assert values["VERSION"] == rllib_mec.__version__
    assert set(values["EXTRAS"].split(",")) <= set(setup()["options.extras_require"])


def test_the_last_user_is_not_root():
    assert re.fullmatch(r"[1-9]\d*:\d+", of("USER")[-1])


def test_ray_asks_for_a_token_unless_told_otherwise():
    assert "RAY_AUTH_MODE=token" in " ".join(of("ENV")).split()


def test_nothing_is_left_behind():
    commands = " ".join(of("RUN"))
    assert commands.count("pip install") + commands.count("pip wheel") == 3
    assert commands.count("--no-cache-dir") == 3
    assert not re.search(r"apt-get|conda|curl|wget|g\+\+|gcc", commands)


def test_copied_files_exist_and_reach_the_build():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    reach = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    sources = [word for rest in of("COPY") for word in rest.split()[:-1]]
    assert len(sources) > 5
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in reach), source
    # What setup.cfg reads to build the package is among them.
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "rllib_mec"} <= set(sources)


def test_secrets_and_results_do_not_reach_the_build():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for path in ("docker/secrets/ray_token", "docker/.env", "results", ".git", "tests"):
        assert not any(fnmatch(path, line[1:]) for line in ignored if line.startswith("!"))


def test_the_health_check_runs_what_is_in_the_image():
    (check,) = of("HEALTHCHECK")
    script = f"{IMAGE_FOLDER}/healthcheck.py"
    assert f'CMD ["python", "{script}"]' in check
    assert f"docker/healthcheck.py {script}" in of("COPY")


def test_labels_are_those_of_oci():
    (labels,) = of("LABEL")
    values = arguments()
    found = {
        key: expand(value, values)
        for key, value in re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]*)"', labels)
    }
    assert found["licenses"] == setup()["metadata"]["license"]
    assert found["version"] == rllib_mec.__version__
    assert found["base.name"] == values["BASE_IMAGE"]
    assert {"title", "description", "revision"} <= set(found)


def test_what_is_typed_is_run():
    assert of("ENTRYPOINT") == ["[]"]
