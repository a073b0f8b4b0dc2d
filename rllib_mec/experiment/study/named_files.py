"""What the files that an ``env_config`` names hold, which tells units apart, not their paths."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from rllib_mec.experiment import environments
from rllib_mec.registry import ENVIRONMENTS
from rllib_mec.traces.trace import files_of


def without_paths(env: str, env_config: dict[str, Any]) -> dict[str, Any]:
    """Returns an ``env_config`` with scenarios and measured curves in place of files' paths.

    One that names no such file is returned as it is. The path of a trace stays; see
    :func:`trace_digest`.
    """
    given = dict(env_config)
    scenario = given.get("scenario")
    based = isinstance(scenario, Mapping) and environments.names_a_file(scenario.get("base"))
    if isinstance(scenario, Mapping) and based:
        base = environments.without_files(env, {"scenario": scenario["base"]})["scenario"]
        given["scenario"] = {**scenario, "base": base}
    found = environments.without_files(env, given)
    inside = found.get("scenario")
    holders = [found, *([inside] if isinstance(inside, dict) else [])]
    measured = [each for each in holders if isinstance(each.get("quality"), dict)]
    if not (measured or based or environments.names_a_file(scenario)):
        return env_config
    for holder in measured:
        if holder["quality"].get("curves"):
            holder["quality"] = {k: v for k, v in holder["quality"].items() if k != "profile"}
    if "trace" in env_config:
        found["trace"] = env_config["trace"]
    return found


def trace_digest(env: str, env_config: Mapping[str, Any]) -> str | None:
    """Returns what changes with the content of the trace that an ``env_config`` names, or None."""
    path = env_config.get("trace")
    if env not in ENVIRONMENTS or not isinstance(path, str):
        return None
    digest = hashlib.sha256()
    for file in files_of(path):
        digest.update(file.name.encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
