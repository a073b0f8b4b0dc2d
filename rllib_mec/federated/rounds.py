"""A federation, round by round."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch

from rllib_mec.emulator.adapters import State, to_bytes
from rllib_mec.emulator.training import Training
from rllib_mec.errors import InputError
from rllib_mec.federated.aggregation import aggregate
from rllib_mec.federated.clock import Devices
from rllib_mec.federated.costs import Costs
from rllib_mec.federated.draws import Participation, seed_of
from rllib_mec.federated.records import Row
from rllib_mec.federated.tuning import SERVER, Failed, Ground, Update, Work, answered, name_of
from rllib_mec.federated.updates import Difference, Guard, difference

Carry = Callable[[Sequence[Work], bytes], Iterable[Update | Failed]]
"""Carries out the work of a round, given the global weights as bytes."""


@dataclasses.dataclass(frozen=True)
class Rules:
    """How a federation goes.

    retentions: of the clients' emulators in turn.
    rotate: rounds after which each client takes the next retention; 0: never.
    training: of a client in a round. server_steps: of the server; 0: it does not tune.
    deadline_s: after which a round ends; clients that take longer are late. None: no end.
    """

    participation: Participation
    training: Training
    retentions: tuple[float, ...] = (1.0,)
    rotate: int = 0
    server_steps: int = 0
    guard: Guard = dataclasses.field(default_factory=Guard)
    devices: Devices = dataclasses.field(default_factory=Devices)
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("rotate", "server_steps"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} = {getattr(self, name)}: expected 0 or more")
        if self.deadline_s is not None and not self.deadline_s > 0:
            raise InputError(f"deadline_s = {self.deadline_s:g}: expected a positive number")

    def retention(self, client: int, number: int) -> float:
        """Returns the retention of a client's emulator in a round."""
        turned = (number - 1) // self.rotate if self.rotate else 0
        return self.retentions[(client + turned) % len(self.retentions)]


@dataclasses.dataclass(frozen=True)
class Global:
    """Where a federation is.

    round: that have been played. weights: the tuned ones.
    held: retentions of what clients hold, by client; who holds nothing yet is not in it.
    """

    round: int
    weights: State
    held: Mapping[int, float]


@dataclasses.dataclass
class _Round:
    """What a round has come to so far."""

    down: int = 0
    frozen: int = 0
    up: int = 0
    seconds: float = 0.0
    exchanges: int = 0
    events: list[str] = dataclasses.field(default_factory=list)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)

    def count(self, what: str, event: str | None = None) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        if event is not None:
            self.events.append(event)


class Federation:
    """Plays rounds; keeps nothing from one to the next but what it is given.

    Args:
        ground: model, case and data. rules: how it goes.
        costs: of each retention, from :func:`~rllib_mec.federated.costs.measure_costs`.
        validation: (sequences, length) tokens to measure on. seed: of all that is drawn.

    Attributes:
        ground: as given.

    Raises:
        InputError: the server is to tune and has no data.
    """

    def __init__(
        self,
        ground: Ground,
        rules: Rules,
        costs: Mapping[float, Costs],
        validation: torch.Tensor,
        seed: int,
    ) -> None:
        if rules.server_steps and not len(ground.holdings.server):
            raise InputError("server_share = 0: expected more, as the server is to tune")
        self.ground, self._rules, self._costs = ground, rules, costs
        self._validation, self._seed = validation, seed

    def start(self) -> tuple[Global, Row]:
        """Returns what there is before the first round."""
        case = self.ground.case
        tunable = case.build(self.ground.whole, seed=seed_of("adapter", self._seed))
        state = Global(0, tunable.state(), {})
        return state, self._row(state, _Round(), 0, time.perf_counter())

    def round(self, state: Global, carry: Carry | None = None) -> tuple[Global, Row]:
        """Plays the next round.

        Args:
            carry: who carries out the clients' work; None: this process, one after the other.
        """
        began, number = time.perf_counter(), state.round + 1
        payload, played, held = to_bytes(state.weights), _Round(), dict(state.held)
        selected = self._rules.participation.selected(self._seed, number)
        works = self._send(number, selected, len(payload), played, held)
        answers = list((carry or self._carry)(works, payload))
        accepted = list(self._accepted(answers, state.weights, played))
        weights = state.weights
        if accepted:
            noise = seed_of("noise", self._seed, number)
            weights = aggregate(weights, accepted, self._rules.guard, noise)
        else:
            played.events.append("no update is left: the global weights stay as they were")
        new = Global(number, weights, held)
        return new, self._row(new, played, len(selected), began)

    def _send(
        self, number: int, selected: list[int], size: int, played: _Round, held: dict[int, float]
    ) -> list[Work]:
        """Sends to the clients that answer what they need; returns the work of those in time."""
        rules, case, works = self._rules, self.ground.case, []
        dropped = rules.participation.dropped(self._seed, number, selected)
        for client in selected:
            if client in dropped:
                played.count("dropped", f"{name_of(client)} dropped out")
                continue
            retention = case.held(rules.retention(client, number))
            costs = self._costs[retention]
            new = case.frozen is not None and held.get(client) != retention
            frozen = costs.frozen_bytes if new else 0
            held[client] = retention
            played.exchanges += new or case.tuned == "model"
            played.down += size
            played.frozen += frozen
            device = rules.devices.device(self._seed, client)
            steps = rules.training.steps * costs.step_seconds
            taken = device.seconds(size + frozen, size, steps)
            if rules.deadline_s is not None and taken > rules.deadline_s:
                # It goes on receiving what it was sent, but its update comes too late to be used.
                played.seconds = max(played.seconds, rules.deadline_s)
                played.count("late", f"{name_of(client)} late: {taken:.4g} s")
                continue
            played.seconds = max(played.seconds, taken)
            works.append(self._work(client, number, retention, rules.training))
        if rules.server_steps:
            training = dataclasses.replace(rules.training, steps=rules.server_steps)
            works.append(self._work(SERVER, number, 1.0, training))
            taken = rules.server_steps * self._costs[1.0].step_seconds
            played.seconds = max(played.seconds, taken)
        return works

    def _work(self, client: int, number: int, retention: float, training: Training) -> Work:
        # Seeds take no negative numbers: the server comes after the clients.
        place = self._rules.participation.clients if client == SERVER else client
        seed = seed_of("tuning", self._seed, number, place)
        return Work(client, number, retention, training, seed)

    def _carry(self, works: Sequence[Work], payload: bytes) -> Iterator[Update | Failed]:
        return (answered(work, self.ground, payload) for work in works)

    def _accepted(
        self, answers: list[Update | Failed], weights: State, played: _Round
    ) -> Iterator[Difference]:
        for answer in sorted(answers, key=lambda each: each.client):
            who, client = name_of(answer.client), answer.client != SERVER
            if isinstance(answer, Failed):
                played.count(
                    "failed" if client else "server_failed", f"{who} failed: {answer.reason}"
                )
                continue
            played.up += len(answer.payload) if client else 0
            try:
                found = difference(answer, weights, self._rules.guard)
            except InputError as error:
                played.count("refused" if client else "server_refused", f"{who} refused: {error}")
                continue
            played.count("used" if client else "server_used")
            yield found

    def _row(self, state: Global, played: _Round, selected: int, began: float) -> Row:
        case, rules, counts = self.ground.case, self._rules, played.counts
        perplexity = case.perplexity(self.ground.whole, state.weights, self._validation)
        whole, peft = case.tuned == "model", case.name == "fl-peft"
        memory = [
            self._costs[case.held(rules.retention(client, max(state.round, 1)))].memory_bytes
            for client in range(rules.participation.clients)
        ]
        return Row(
            case=case.name,
            seed=self._seed,
            round=state.round,
            perplexity=perplexity,
            adapter_bytes_down=0 if whole else played.down,
            adapter_bytes_up=0 if whole else played.up,
            emulator_bytes_down=played.frozen if case.frozen == "emulator" else 0,
            model_bytes_down=played.down if whole else played.frozen if peft else 0,
            model_bytes_up=played.up if whole else 0,
            seconds=played.seconds,
            wall_seconds=time.perf_counter() - began,
            selected=selected,
            used=counts.get("used", 0),
            dropped=counts.get("dropped", 0),
            late=counts.get("late", 0),
            refused=counts.get("refused", 0),
            failed=counts.get("failed", 0),
            server_used=counts.get("server_used", 0),
            exchanges=played.exchanges,
            peak_memory_bytes=tuple(memory),
            events=tuple(played.events),
        )
