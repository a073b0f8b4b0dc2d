"""``rllib export``: from a checkpoint to the files of its policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rllib_mec.errors import InputError
from rllib_mec.experiment import environments
from rllib_mec.experiment.checkpoints import manifest, reading
from rllib_mec.experiment.checkpoints.policies import TeamPolicy, trained_policy
from rllib_mec.experiment.export.write import About, check_new, write_policy
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.orchestrator.spec import PLAIN, read_spec
from rllib_mec.registry import ALGORITHMS

_OF_TRACES = ("trace", "replay", "replay_block")
"""Of an env_config of mec, what says where episodes come from, which is nothing to a policy."""

_WITH_TRACES = ("mec", "mec-case-decision")


def export_command(
    checkpoint: Path, out: Path, env_config: Mapping[str, Any], trust: bool
) -> Iterator[str]:
    """Exports a checkpoint; yields the lines that say what was written.

    Args:
        env_config: what to change of that which was trained with; ``trust``: whether code that is
            in the checkpoint, or named by it, may run.

    Raises:
        InputError: no checkpoint, or one of what cannot be exported.
    """
    check_new(out)
    if not checkpoint.exists():
        raise InputError(f"{checkpoint}: there is no such checkpoint")
    checkpoint = checkpoint.absolute()
    without = dict.fromkeys(_traces_in(checkpoint, trust))
    loaded = reading.read(checkpoint, None, {**without, **env_config}, trust)
    single = loaded.env.check(loaded.env_config)
    run = _algorithm(loaded.config)
    policy = None
    if isinstance(loaded.config, HMPPOConfig):
        loaded.config.output = None  # only training is recorded
        policy = trained_policy(loaded, single)
    if not isinstance(policy, TeamPolicy):
        raise InputError(
            f"{checkpoint}: of {run}: expected a checkpoint of HMPPO, IPPO or SABPPO, others "
            "cannot be exported"
        )
    simulated = environments.scenario(loaded.env.name, loaded.env_config)
    found = environments.without_files(loaded.env.name, loaded.env_config)
    environment = {
        "name": loaded.env.name,
        "config": {key: found[key] for key in found if key not in _of_traces(loaded.env.name)},
    }
    trained = None if loaded.trusted else dict(manifest.read(checkpoint).progress)
    difference = write_policy(policy.module, About(run, environment, simulated, trained), out)
    yield from _lines(out, difference)


def _traces_in(checkpoint: Path, trust: bool) -> list[str]:
    """What the env_config of a checkpoint says of a trace, which may be there no more."""
    if not (checkpoint / manifest.MANIFEST).is_file():
        return []
    form = reading.experiment_of(checkpoint, trust)
    return [k for k in _of_traces(form["env"]) if k in (form["config"].get("env_config") or {})]


def _of_traces(env: str) -> tuple[str, ...]:
    return _OF_TRACES if env in _WITH_TRACES else ()


def _algorithm(config: Any) -> str:
    """The name that ``run:`` has for a configuration's algorithm, else that of its class."""
    for name, entry in ALGORITHMS.items():
        if entry.target.endswith(f":{type(config).__name__}"):
            return name
    return type(config).__name__


def _lines(out: Path, difference: float) -> Iterator[str]:
    spec = read_spec(out)
    for actor in spec.actors:
        many = "" if actor.form == PLAIN else f", any number of {actor.form}"
        size = spec.files[actor.file]["bytes"]
        yield f"{actor.agent}: {actor.file}, {size:,} bytes{many}"
    yield f"agrees with the checkpoint to {difference:.1e}"
    yield f"exported {out}"
