"""``spec.json`` of an exported policy: what it is, and what its files take and give.

A directory of ``rllib export`` holds

* ``spec.json``, this;
* a file of ONNX for each actor: observations in, the most probable actions out;
* ``weights.safetensors``: the actors' weights and filters, by the names that they have in torch.

An actor takes its agent's observations in one of three forms, always float32 and unscaled, with the
codes of earlier agents' actions in their slots (``sees``):

| form     | input             | whose                                                         |
|----------|-------------------|---------------------------------------------------------------|
| plain    | (rows, inputs)    | an agent's whole observation                                  |
| entities | (rows, N, inputs) | the same, entity by entity; any number N of them              |
| members  | (rows, inputs)    | one member of a group per row; any number of members          |

For each leaf of its action space it gives ``action``, (…, size): coins and choices as whole
numbers, numbers as the environment takes them, within their box; and ``code``, what later agents
see of it (None where nobody does). With entities these are of each entity.

An actor that remembers takes ``memory``, too, (rows, memory), zeros at the start of an episode, and
gives ``memory_after`` for the next step.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_mec.errors import InputError

SPEC, WEIGHTS = "spec.json", "weights.safetensors"
FORMAT = 1
PLAIN, ENTITIES, MEMBERS = "plain", "entities", "members"


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One simple space of an action.

    path: keys to it, none where the action is one such space. kind: ``binary``, ``categorical`` or
    ``continuous``. shape: of it in one action; dtype: of NumPy. action, code: names of outputs.
    """

    path: tuple[str | int, ...]
    kind: str
    shape: tuple[int, ...]
    dtype: str
    action: str
    code: str | None


@dataclasses.dataclass(frozen=True)
class ActorSpec:
    """One actor.

    agent: whose, or of which group. file: of ONNX. form: see above. inputs: numbers of an
    observation, of an entity's or of a member's. members: of the group, or None. sees: where in the
    agent's flat observation the codes of earlier agents belong. observation_space, action_space: as
    :func:`~rllib_mec.experiment.export.spaces.described` has them, of a group those of one member.
    network: kind and sizes. observation_filter: what has been filtered by, None for nothing.
    memory: numbers of the memory that an agent, or each member, has; 0 for none.
    """

    agent: str
    file: str
    form: str
    inputs: int
    members: tuple[str, ...] | None
    sees: dict[str, tuple[int, ...]]
    leaves: tuple[Leaf, ...]
    observation_space: dict[str, Any]
    action_space: dict[str, Any]
    network: dict[str, Any]
    observation_filter: dict[str, Any] | None
    memory: int = 0

    @property
    def num_members(self) -> int:
        """How many agents of the environment it decides for."""
        return len(self.members or (self.agent,))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ActorSpec:
        """The inverse of ``dataclasses.asdict``, after JSON."""
        leaves = tuple(
            Leaf(**{**leaf, "path": tuple(leaf["path"]), "shape": tuple(leaf["shape"])})
            for leaf in values["leaves"]
        )
        members = None if values["members"] is None else tuple(values["members"])
        sees = {agent: tuple(positions) for agent, positions in values["sees"].items()}
        return cls(**{**values, "leaves": leaves, "members": members, "sees": sees})


@dataclasses.dataclass(frozen=True)
class Spec:
    """What a directory of ``rllib export`` says of itself.

    algorithm: that trained the policy. environment: ``name`` and ``config``. scenario: every
    constant of the system that it was trained on, or None. actors: in the order of decisions.
    num_entities: with how many the environment was made, or None. trained: for how long.
    created: when, UTC. versions: of what wrote it. files: size in bytes and SHA-256 of each.
    """

    algorithm: str
    environment: dict[str, Any]
    scenario: dict[str, Any] | None
    actors: tuple[ActorSpec, ...]
    num_entities: int | None
    trained: dict[str, Any] | None
    created: str
    versions: dict[str, str]
    files: dict[str, dict[str, Any]]

    @property
    def any_number(self) -> bool:
        """Whether the policy runs with any number of entities."""
        return all(actor.form != PLAIN for actor in self.actors)

    def to_json(self) -> str:
        """Returns the text of ``spec.json``."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1) + "\n"


def describe_file(path: Path) -> dict[str, Any]:
    """Returns what :attr:`Spec.files` says of a file."""
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _check(spec: Spec) -> None:
    """Refuses what JSON can hold and no policy has.

    Raises:
        ValueError: names it.
    """
    mappings = {"environment": spec.environment, "files": spec.files, "versions": spec.versions}
    wrong = [name for name, value in mappings.items() if not isinstance(value, dict)]
    if not wrong and not (
        isinstance(spec.environment.get("name"), str)
        and isinstance(spec.environment.get("config"), dict)
    ):
        wrong.append("environment")
    if not isinstance(spec.scenario, dict | None):
        wrong.append("scenario")
    if spec.num_entities is not None and not _is_count(spec.num_entities):
        wrong.append("num_entities")
    wrong += [] if spec.actors else ["actors"]
    for index, actor in enumerate(spec.actors):
        kinds = {leaf.kind for leaf in actor.leaves}
        right = {
            "agent": isinstance(actor.agent, str),
            "file": isinstance(actor.file, str),
            "form": actor.form in (PLAIN, ENTITIES, MEMBERS),
            "inputs": _is_count(actor.inputs),
            "leaves": bool(kinds) and kinds <= {"binary", "categorical", "continuous"},
            "memory": actor.memory == 0 or _is_count(actor.memory),
        }
        wrong += [f"actors[{index}].{name}" for name, is_right in right.items() if not is_right]
    if wrong:
        raise ValueError(f"{wrong[0]} is none of a policy's")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def read_spec(directory: Path) -> Spec:
    """Reads ``spec.json`` and checks the files that it names.

    Raises:
        InputError: there is none, it is of a later version, or something is damaged.
    """
    path = directory / SPEC
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("format")
        if version != FORMAT:
            raise InputError(f"{path}: format = {version!r}: expected {FORMAT}")
        actors = tuple(ActorSpec.of(actor) for actor in content.pop("actors"))
        spec = Spec(actors=actors, **content)
        _check(spec)
    except FileNotFoundError:
        raise InputError(
            f"{directory}: expected a directory of rllib export, with {SPEC}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: damaged: {error!r}") from None
    for name, expected in spec.files.items():
        if Path(name).name != name or "\0" in name:
            raise InputError(f"{path}: files name {name!r}: expected files beside it")
        try:
            found = describe_file(directory / name)
        except OSError as error:
            raise InputError(f"{directory / name}: {error.strerror or error}") from None
        if found != expected:
            raise InputError(f"{directory / name}: damaged: it is not what {SPEC} says")
    missing = {WEIGHTS, *(actor.file for actor in spec.actors)} - set(spec.files)
    if missing:
        raise InputError(f"{path}: files lack {', '.join(sorted(missing))}")
    return spec
