"""The files of docker/, read: what the tests here share."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = DOCKER / "Dockerfile"
COMPOSE = DOCKER / "compose.yaml"
IMAGE_FOLDER = "/opt/rllib_mec"
"""Where the image holds what is not the package: tuned_examples, healthcheck.py."""


def setup() -> configparser.ConfigParser:
    """setup.cfg, with %(…)s resolved."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def instructions(text: str | None = None) -> list[tuple[str, str]]:
    """The Dockerfile's instructions: (name, arguments), lines that go on joined."""
    text = DOCKERFILE.read_text(encoding="utf-8") if text is None else text
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(pair[0].upper(), pair[1].strip() if len(pair) > 1 else "") for pair in pairs]


def arguments(**given: str) -> dict[str, str]:
    """The Dockerfile's build arguments, with those given in place of their defaults."""
    values: dict[str, str] = {}
    for name, rest in instructions():
        key, _, default = rest.partition("=")
        if name == "ARG" and key not in values:
            values[key] = given.get(key, expand(default, values))
    return values


def expand(text: str, values: dict[str, str]) -> str:
    """Puts values in place of ${NAME}."""
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], text)


def compose() -> dict[str, Any]:
    """compose.yaml with the defaults of its variables, its own x-… left out."""
    text = COMPOSE.read_text(encoding="utf-8")
    document = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    return {key: value for key, value in document.items() if not key.startswith("x-")}


def manifests() -> list[tuple[str, dict[str, Any]]]:
    """(file name, document) of all Kubernetes manifests."""
    files = sorted((DOCKER / "kuberay").glob("*.yaml"))
    return [
        (file.name, document)
        for file in files
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
    ]


def manifest(kind: str, file: str | None = None) -> dict[str, Any]:
    """The one manifest of a kind (in a file)."""
    (found,) = [d for f, d in manifests() if d["kind"] == kind and file in (None, f)]
    return found
