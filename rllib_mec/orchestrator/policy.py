"""An exported policy at work: observations in, the most probable actions out, by ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.orchestrator.libraries import require
from rllib_mec.orchestrator.spec import ENTITIES, MEMBERS, PLAIN, ActorSpec, Leaf, read_spec

Floats32 = NDArray[np.float32]
Slots = Mapping[str, Mapping[str, Any]]
Memories = dict[str, Floats32]


class ExportedPolicy:
    """All actors of an exported policy, of any environment.

    Args:
        directory: of ``rllib export``.
        threads: of each actor; networks this small mostly wait for each other.

    Attributes:
        directory: the directory. spec: what it says of itself.

    Raises:
        InputError: no such directory, a damaged one, or ONNX Runtime is not installed.
    """

    def __init__(self, directory: str | Path, threads: int = 1) -> None:
        require("an exported policy", "onnxruntime")
        import onnxruntime

        self.directory = directory = Path(directory)
        self.spec = read_spec(directory)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        self._sessions = {}
        for actor in self.spec.actors:
            try:
                self._sessions[actor.agent] = onnxruntime.InferenceSession(
                    str(directory / actor.file), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # ONNX Runtime's own kinds, which share no base
                reason = " ".join(str(error).split())
                raise InputError(f"{directory / actor.file}: cannot be run: {reason}") from None
            _check_fits(actor, self._sessions[actor.agent], directory / actor.file)

    def initial_memories(self, num_envs: int) -> Memories:
        """Returns what those who remember know before B episodes begin, (B, memory) each."""
        return {
            actor.agent: np.zeros((num_envs, actor.num_members * actor.memory), np.float32)
            for actor in self.spec.actors
            if actor.memory
        }

    def decide(
        self,
        observations: Mapping[str, Any],
        slots: Slots | None = None,
        memories: Memories | None = None,
    ) -> dict[str, Any]:
        """Returns the most probable actions of all agents.

        Args:
            observations: of each agent and group, (B, …), with empty slots, as environments in
                batches give them.
            slots: as :attr:`ActorSpec.sees`, of each agent; needed with another number of entities
                than the environment was made with.
            memories: what :meth:`initial_memories` returned, or what the last step has left there;
                those after the step are put in place of them. A policy that remembers needs them.

        Returns:
            actions as such environments take them, (B, …) for each leaf of an action space.

        Raises:
            InputError: an agent's observation is missing, not finite or of the wrong shape.
        """
        actions: dict[str, Any] = {}
        rows: dict[str, int] = {}
        codes: dict[str, Floats32] = {}
        for actor in self.spec.actors:
            own = self._observation(actor, observations)
            rows[actor.agent] = len(own)
            if len(set(rows.values())) > 1:
                raise InputError(f"observations of {rows} rows: expected as many of each agent")
            sees = actor.sees if slots is None else slots.get(actor.agent, {})
            if sees:
                own = own.copy()
                for other, positions in sees.items():
                    at = list(positions)
                    if codes[other].shape[1] != len(at) or max(at) >= own.shape[1]:
                        raise InputError(
                            f"observations of {actor.agent} have {own.shape[1]} numbers, with "
                            f"{len(at)} slots for {codes[other].shape[1]} of {other}'s action: "
                            "with another number of entities, expected slots that fit"
                        )
                    own[:, at] = codes[other]
            results = self._run(actor, own, memories)
            actions[actor.agent] = _structured(actor, results, len(own))
            if all(leaf.code is not None for leaf in actor.leaves):
                coded = [results[str(leaf.code)].reshape(len(own), -1) for leaf in actor.leaves]
                codes[actor.agent] = np.concatenate(coded, axis=-1)
        return actions

    def decide_alone(self, agent: str, observations: Any, memories: Memories | None = None) -> Any:
        """Returns one agent's actions, from its observations, (B, …), with their slots filled.

        Args:
            memories: see :meth:`decide`.

        Raises:
            InputError: see :meth:`decide`; or there is no such agent.
        """
        actors = {actor.agent: actor for actor in self.spec.actors}
        if agent not in actors:
            raise unknown_name("agent", agent, actors)
        actor = actors[agent]
        own = self._observation(actor, {agent: observations})
        return _structured(actor, self._run(actor, own, memories), len(own))

    def _observation(self, actor: ActorSpec, observations: Mapping[str, Any]) -> Floats32:
        """The agent's flat observations, (B, …)."""
        if actor.agent not in observations:
            raise InputError(f"observations of {sorted(observations)}: expected {actor.agent}'s")
        try:
            own = np.asarray(observations[actor.agent], np.float32)
        except (TypeError, ValueError):
            raise InputError(f"observations of {actor.agent}: expected numbers") from None
        if own.ndim < 2 or not len(own):
            raise InputError(
                f"observations of {actor.agent} have shape {own.shape}: expected (B, ...)"
            )
        if not np.isfinite(own).all():
            raise InputError(f"observations of {actor.agent} are not all finite")
        flat = own.reshape(len(own), -1)
        sets, rest = divmod(flat.shape[1], actor.inputs)
        if rest or not sets or (actor.form == PLAIN and sets > 1):
            many = "" if actor.form == PLAIN else "a multiple of "
            raise InputError(
                f"observations of {actor.agent} have {flat.shape[1]} numbers: expected "
                f"{many}{actor.inputs}"
            )
        return flat

    def _run(
        self, actor: ActorSpec, observations: Floats32, memories: Memories | None
    ) -> dict[str, Any]:
        rows = observations
        if actor.form == ENTITIES:
            rows = observations.reshape(len(observations), -1, actor.inputs)
        elif actor.form == MEMBERS:
            rows = observations.reshape(-1, actor.inputs)
        inputs = {"observation": rows}
        if actor.memory:
            inputs["memory"] = self._memory(actor, len(rows), memories)
        session = self._sessions[actor.agent]
        names = [output.name for output in session.get_outputs()]
        results = dict(zip(names, session.run(names, inputs), strict=True))
        if actor.memory and memories is not None:
            memories[actor.agent] = results["memory_after"].reshape(len(observations), -1)
        return results

    def _memory(self, actor: ActorSpec, rows: int, memories: Memories | None) -> Floats32:
        if memories is None or actor.agent not in memories:
            raise InputError(
                f"{actor.agent} remembers what was before: expected memories, as initial_memories "
                "returns"
            )
        own = np.asarray(memories[actor.agent], np.float32)
        if own.size != rows * actor.memory:
            raise InputError(
                f"memories of {actor.agent} have {own.size} numbers: expected {rows} x "
                f"{actor.memory}"
            )
        return own.reshape(rows, actor.memory)


def _check_fits(actor: ActorSpec, session: Any, file: Path) -> None:
    """Refuses a file of ONNX that is not what ``spec.json`` says of it.

    Raises:
        InputError: says so.
    """
    widths = {"observation": actor.inputs, **({"memory": actor.memory} if actor.memory else {})}
    found = {given.name: given.shape[-1] for given in session.get_inputs()}
    codes = {leaf.code for leaf in actor.leaves if leaf.code is not None}
    memory = {"memory_after"} if actor.memory else set()
    outputs = {leaf.action for leaf in actor.leaves} | codes | memory
    if found != widths or not outputs <= {output.name for output in session.get_outputs()}:
        raise InputError(f"{file}: takes {found}: expected {widths}, and {sorted(outputs)} from it")


def _structured(actor: ActorSpec, results: Mapping[str, Any], num_envs: int) -> Any:
    """The action in the structure of its space, from the outputs of an actor."""
    values = [
        (leaf.path, _of_env(actor, leaf, results[leaf.action], num_envs)) for leaf in actor.leaves
    ]
    return _nested(values)


def _of_env(actor: ActorSpec, leaf: Leaf, values: NDArray[Any], num_envs: int) -> NDArray[Any]:
    # Of a group, or another number of entities, actions are flat, as batches have them.
    fits = actor.form != MEMBERS and values.size == num_envs * math.prod(leaf.shape)
    return values.reshape(num_envs, *(leaf.shape if fits else (-1,))).astype(leaf.dtype)


def _nested(values: list[tuple[tuple[str | int, ...], Any]]) -> Any:
    """Dicts and tuples whose leaves are values, from the paths to these, in order."""
    if len(values) == 1 and not values[0][0]:
        return values[0][1]
    groups: dict[str | int, list[tuple[tuple[str | int, ...], Any]]] = {}
    for path, value in values:
        groups.setdefault(path[0], []).append((path[1:], value))
    inner = {key: _nested(group) for key, group in groups.items()}
    return tuple(inner.values()) if isinstance(next(iter(inner)), int) else inner
