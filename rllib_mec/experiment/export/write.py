"""Writes the directory of an exported policy, whole or not at all, and checks that it agrees."""

from __future__ import annotations

import dataclasses
import datetime
import platform
import re
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from safetensors.torch import save_file

from rllib_mec.errors import InputError
from rllib_mec.experiment.checkpoints.whole import copy_whole
from rllib_mec.experiment.export.graphs import MostProbable, write_onnx
from rllib_mec.experiment.export.spaces import described
from rllib_mec.hmppo.action_codec import BINARY, CONTINUOUS
from rllib_mec.hmppo.modules.actor import Actor
from rllib_mec.hmppo.modules.joint_policy import JointPolicy
from rllib_mec.hmppo.modules.observation_filter import ObservationFilter
from rllib_mec.hmppo.modules.recurrent import Memory
from rllib_mec.orchestrator.policy import ExportedPolicy
from rllib_mec.orchestrator.spec import (
    ENTITIES,
    SPEC,
    WEIGHTS,
    ActorSpec,
    Spec,
    describe_file,
)

AGREEMENT = 1e-5
"""Most by which numbers of the exported policy may differ from the torch policy's."""

_ROWS = 256
_PACKAGES = ("rllib_mec", "ray", "torch", "numpy", "onnx", "onnxruntime")


@dataclasses.dataclass(frozen=True)
class About:
    """What the policy itself does not know; see :class:`~rllib_mec.orchestrator.spec.Spec`."""

    algorithm: str
    environment: dict[str, Any]
    scenario: dict[str, Any] | None = None
    trained: dict[str, Any] | None = None


def write_policy(policy: JointPolicy, about: About, out: Path) -> float:
    """Writes the files of a policy; see :mod:`rllib_mec.orchestrator.spec`.

    Args:
        out: a directory that is not there yet.

    Returns:
        the largest difference between what the files decide and the policy itself, over random
        observations; see :func:`disagreement`.

    Raises:
        InputError: ``out`` is there, or the policy cannot be exported.
    """
    check_new(out)
    with tempfile.TemporaryDirectory(prefix="mec-export-") as made:
        directory = Path(made)
        _write(policy, about, directory)
        difference = disagreement(policy, ExportedPolicy(directory))
        if not difference <= AGREEMENT:
            raise InputError(
                f"the exported policy differs from the checkpoint's by {difference:.2g}: expected "
                f"at most {AGREEMENT:g}"
            )
        try:
            copy_whole(directory, out)
        except OSError as error:
            raise InputError(f"--out {out}: {error.strerror or error}") from None
    return difference


def check_new(out: Path) -> None:
    """Refuses a directory that is there already.

    Raises:
        InputError: says so.
    """
    if out.exists():
        raise InputError(f"--out {out}: expected a directory that is not there yet")


def _write(policy: JointPolicy, about: About, directory: Path) -> None:
    team = policy.team
    seen = {agent for sees in team.slots.values() for agent in sees}
    weights: dict[str, torch.Tensor] = {}
    actors: list[ActorSpec] = []
    for index, agent in enumerate(team.agents):
        actor = policy[agent].unwrapped()
        _check_exportable(agent, actor, team.observation_spaces[agent])
        _check_slots(agent, actor.filter, team.slots.get(agent, {}))
        codec = team.member_codecs[agent] if agent in team.members else team.codecs[agent]
        module = MostProbable(actor, codec, agent in seen)
        plain = agent if re.fullmatch(r"[\w.-]+", agent) else f"actor_{index}"
        file = f"{plain}.onnx"
        write_onnx(module, directory / file)
        state = actor.state_dict()
        weights |= {f"{agent}.{name}": value.contiguous() for name, value in state.items()}
        actors.append(
            ActorSpec(
                agent=agent,
                file=file,
                form=module.form,
                inputs=actor.num_inputs,
                members=team.members.get(agent),
                sees={other: tuple(at) for other, at in team.slots.get(agent, {}).items()},
                leaves=tuple(module.outputs),
                observation_space=described(team.observation_spaces[agent]),
                action_space=described(team.action_spaces[agent]),
                network=_network(actor),
                observation_filter=_filter(actor.filter),
                memory=module.memory,
            )
        )
    save_file(weights, directory / WEIGHTS)
    files = {path.name: describe_file(path) for path in sorted(directory.iterdir())}
    entities = team.require_entities() if any(a.form == ENTITIES for a in actors) else None
    spec = Spec(
        algorithm=about.algorithm,
        environment=about.environment,
        scenario=about.scenario,
        actors=tuple(actors),
        num_entities=entities or team.num_entities,
        trained=about.trained,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        versions={
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
        files=files,
    )
    (directory / SPEC).write_text(spec.to_json(), encoding="utf-8")


def _check_exportable(agent: str, actor: Any, observed: gym.Space) -> None:
    if not isinstance(actor, Actor):
        raise InputError(
            f"the actor of {agent} is a {type(actor).__name__}: expected one of HMPPO, IPPO or "
            "SABPPO, others cannot be exported"
        )
    if not isinstance(observed, gym.spaces.Box):
        raise InputError(
            f"observation space of {agent} = {observed}: expected a Box, others cannot be exported"
        )


def _check_slots(agent: str, own: ObservationFilter | None, slots: Any) -> None:
    """Refuses a filter that changes slots: the policy fills them after it, its files before it."""
    if own is None:
        return
    count = len(own.mean)
    for other, positions in slots.items():
        at = [position % count for position in positions]
        if own.mean[at].any() or own.variance[at].any():
            raise InputError(
                f"observation_filter of {agent}: expected slots for actions of {other} where the "
                "environment always leaves zeros; such a policy cannot be exported"
            )


def _network(actor: Actor) -> dict[str, Any]:
    """What the actor's network is made by."""
    config = actor.model_config
    names = (
        "fcnet_hiddens",
        "fcnet_activation",
        "branch_width",
        "autoregressive",
        "entity_order",
        "conv_filters",
        "conv_activation",
        "recurrent_layer",
        "recurrent_size",
    )
    return {
        "actor": type(actor).__name__,
        "network": type(actor.network).__name__,
        "parameters": sum(value.numel() for value in actor.parameters()),
        **{name: config[name] for name in names if name in config},
    }


def _filter(own: ObservationFilter | None) -> dict[str, Any] | None:
    if own is None:
        return None
    return {"kind": "MeanStdFilter", "count": float(own.count), "limit": own.LIMIT}


@torch.no_grad()
def disagreement(policy: JointPolicy, exported: ExportedPolicy, rows: int = _ROWS) -> float:
    """Returns the largest difference of decisions of the two, over random observations.

    That of numbers is absolute up to 1 and relative above; that of coins and choices is by how much
    the logit of what was chosen is below the highest. Each actor is asked alone, with random codes
    in its slots, so that differences do not add up.
    """
    team = policy.team
    generator = torch.Generator().manual_seed(0)
    worst = [torch.zeros(1)]
    for agent in team.agents:
        observed = torch.randn(rows, team.observation_size(agent), generator=generator)
        actor, codec = policy[agent].unwrapped(), team.codecs[agent]
        filtered = observed if actor.filter is None else actor.filter(observed)
        memory, memories = None, {}
        if actor.memory_size:
            before = torch.rand(rows, actor.memory_size, generator=generator) * 2 - 1
            memory, memories = Memory(before).of_one(), {agent: before.numpy()}
        actions, _, after = actor.decide_alone(filtered, None, memory)
        ours = torch.as_tensor(codec.flatten(codec.to_env(actions)))
        decided = exported.decide_alone(agent, observed.numpy(), memories)
        theirs = torch.as_tensor(codec.flatten(decided))
        if after is not None:
            worst.append((after - torch.as_tensor(memories[agent])).abs())
        parameters = actor.parameters_of(filtered, theirs, memory)
        sizes = [leaf.num_parameters for leaf in codec.leaves]
        for leaf, one, other, own in zip(
            codec.leaves,
            codec.split(ours),
            codec.split(theirs),
            parameters.split(sizes, dim=-1),
            strict=True,
        ):
            if leaf.kind == CONTINUOUS:
                worst.append((one - other).abs() / one.abs().clamp_min(1.0))
            elif leaf.kind == BINARY:
                worst.append(own * (1 - 2 * other))
            else:
                logits = own.split(leaf.choices, dim=-1)
                chosen = other.long().split(1, dim=-1)
                worst += [
                    each.max(dim=-1).values - each.gather(-1, at).squeeze(-1)
                    for each, at in zip(logits, chosen, strict=True)
                ]
    most = torch.cat([each.flatten() for each in worst]).max()
    return float(most) if torch.isfinite(most) else float("inf")
