"""What compose.yaml must be: of the compose specification, and safe. Returns what it is not.

The specification's schema is the one that the package check-jsonschema brings.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
from kubernetes_rules import IMAGE

Document = dict[str, Any]

SECRETS = "/run/secrets/"
_UNITS = {"k": 1024, "m": 1024**2, "g": 1024**3}


def problems(document: Document) -> list[str]:
    """All that is wrong with a compose file."""
    found = [f"{e.json_path}: {e.message}" for e in _specification().iter_errors(document)]
    for name, service in document["services"].items():
        found += [f"{name}: {problem}" for problem in _service(name, service, document)]
    return found


def size(text: str) -> int:
    """Bytes of a size as compose writes it: 2gb, 512m."""
    number, unit = re.fullmatch(r"(\d+)([kmg]?)b?", text.lower()).groups()
    return int(number) * _UNITS.get(unit, 1)


def option(command: list[str], name: str) -> str | None:
    """The value of --name=value in a command."""
    values = [part.partition("=")[2] for part in command if part.startswith(f"{name}=")]
    return values[-1] if values else None


@functools.cache
def _specification() -> jsonschema.Draft202012Validator:
    folder = importlib.resources.files("check_jsonschema.builtin_schemas") / "vendor"
    schema = json.loads((folder / "compose-spec.json").read_text(encoding="utf-8"))
    return jsonschema.validators.validator_for(schema)(schema)


def _service(name: str, service: Document, document: Document) -> Iterator[str]:
    yield from _isolation(service)
    yield from _token(service, document)
    if IMAGE.fullmatch(service.get("image", "")) is None:
        yield f"image {service.get('image')} is not rllib-mec:VERSION-PLATFORM"
    platform = service["build"]["args"]["PLATFORM"]
    if not service["image"].endswith(f"-{platform}"):
        yield f"image {service['image']} is built for {platform}"
    if service.get("restart") != "unless-stopped":
        yield "is not started again"
    if "results:/results" not in service.get("volumes", []):
        yield "does not see /results"
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    if not {"cpus", "memory", "pids"} <= set(limits):
        yield "no limits"
    command = service["command"]
    objects = option(command, "--object-store-memory")
    if objects is None or int(objects) >= size(service.get("shm_size", "64m")):
        yield "its objects do not fit into shm_size"
    if "--block" not in command:
        yield "ends at once: no --block"
    if "--head" not in command:
        if service.get("depends_on", {}).get("head") != {"condition": "service_healthy"}:
            yield "does not wait for the head"
        if float(option(command, "--num-cpus") or 0) > float(limits.get("cpus", 0)):
            yield "promises more CPUs than it may use"
    gpus = service["deploy"]["resources"].get("reservations", {}).get("devices", [])
    if bool(gpus) != (option(command, "--num-gpus") == "1") or bool(gpus) != (platform != "cpu"):
        yield "a GPU, --num-gpus and the image do not fit together"


def _isolation(service: Document) -> Iterator[str]:
    user = str(service.get("user", ""))
    if not re.fullmatch(r"[1-9]\d*:\d+", user):
        yield f"user {user!r} may be root"
    if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
        yield "has capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield "may gain privileges"
    if not service.get("read_only"):
        yield "its root can be written"
    for key in ("privileged", "network_mode", "ipc", "pid", "devices"):
        if service.get(key):
            yield f"{key} {service[key]}"
    for volume in service.get("volumes", []):
        if volume.startswith((".", "/", "~")):
            yield f"volume {volume} is of the host"
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            yield f"port {port} is open to the network"
    if service.get("ports") and "--head" not in service["command"]:
        yield "a worker publishes ports"


def _token(service: Document, document: Document) -> Iterator[str]:
    environment = service.get("environment", {})
    if environment.get("RAY_AUTH_MODE") != "token":
        yield "does not ask for the token"
    if "RAY_AUTH_TOKEN" in environment:
        yield "its token is in the environment"
    path = environment.get("RAY_AUTH_TOKEN_PATH", "")
    secret = path.removeprefix(SECRETS)
    if not path.startswith(SECRETS) or secret not in service.get("secrets", []):
        yield f"RAY_AUTH_TOKEN_PATH {path!r} is none of its secrets"
    elif "file" not in document.get("secrets", {}).get(secret, {}):
        yield f"secret {secret} is not read from a file"
