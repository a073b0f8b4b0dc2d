"""Plays federations, or goes on with them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from rllib_mec.emulator.models import load_foundation
from rllib_mec.emulator.offline import NAME, offline_foundation
from rllib_mec.emulator.progress import bar
from rllib_mec.emulator.texts import task_text
from rllib_mec.emulator.tokens import Sequences
from rllib_mec.errors import InputError
from rllib_mec.experiment.federation.results import write_results
from rllib_mec.experiment.federation.settings import Settings
from rllib_mec.experiment.federation.store import Store
from rllib_mec.experiment.workers import Failure, Job, Workers
from rllib_mec.federated.costs import Costs, measure_costs
from rllib_mec.federated.records import Row
from rllib_mec.federated.rounds import Carry, Federation
from rllib_mec.federated.splits import split
from rllib_mec.federated.tuning import Failed, Ground, Update, Work, answered, name_of

Answer = Callable[[Work, Ground, bytes], Update | Failed]


def fedtune(
    model: str,
    settings: Settings,
    out: Path,
    work: Path,
    workers: Workers,
    answer: Answer = answered,
) -> tuple[Row, ...]:
    """Plays the rounds that ``work`` lacks, writes ``out`` and returns its rows.

    Args:
        model: ``offline``, a path or a name on the hub.
        workers: who does the clients' work.
        answer: what a client does.

    Raises:
        InputError: the settings do not fit the model or a text.
    """
    texts = [task_text(task) for task in settings.tasks]
    names = [text.name for text in texts]
    if len(set(names)) < len(names):
        raise InputError(f"tasks = {', '.join(names)}: expected different names (NAME=PATH)")
    foundation = offline_foundation(work / NAME) if model == NAME else load_foundation(model)
    tasks = settings.tokenised(texts, foundation)
    about = settings.about(foundation, texts)
    store, rows = Store(work, about), []
    runs = [(seed, case) for seed in range(settings.seeds) for case in settings.cases]
    with bar("rounds", len(runs) * settings.rounds) as progress:
        for seed, case in runs:
            ground = _ground(foundation.model, settings, case, tasks, seed)
            player = _Player(settings, store, workers, answer)
            rows += player.play(ground, tasks, seed, progress)
    write_results(out, rows, about)
    return tuple(rows)


def _ground(
    whole: PreTrainedModel, settings: Settings, case: str, tasks: list[Sequences], seed: int
) -> Ground:
    clients = settings.rules.participation.clients
    holdings = split([task.train for task in tasks], clients, settings.split, seed)
    return Ground(whole, settings.case(case), holdings)


class _Player:
    """Plays single federations."""

    def __init__(self, settings: Settings, store: Store, workers: Workers, answer: Answer) -> None:
        self._settings, self._store, self._workers = settings, store, workers
        self._answer = answer

    def play(self, ground: Ground, tasks: list[Sequences], seed: int, progress: Any) -> list[Row]:
        """Plays what is left of a case and seed; returns all its rows."""
        case, settings, store = ground.case.name, self._settings, self._store
        state = store.newest(case, seed)
        played = 0 if state is None else min(state.round, settings.rounds)
        progress.update(played)
        if state is None or state.round < settings.rounds:
            # What goes to other processes goes from the CPU: not all of them may have a GPU.
            _move(ground.whole, "cpu")
            carry = self._carry(self._workers.share(ground))
            _move(ground.whole, _device())
            federation = self._federation(ground, tasks, seed)
            if state is None:
                state, row = federation.start()
                store.keep(state, row)
            while state.round < settings.rounds:
                state, row = federation.round(state, carry)
                store.keep(state, row)
                _tell(row)
                progress.set_postfix_str(f"{case}: perplexity {row.perplexity:.2f}", refresh=False)
                progress.update()
        return store.rows(case, seed)[: settings.rounds + 1]

    def _federation(self, ground: Ground, tasks: list[Sequences], seed: int) -> Federation:
        settings, case = self._settings, ground.case
        costs = self._costs(ground.whole, tasks[0].train)
        validation = torch.cat([task.validation for task in tasks])
        rules = settings.rules_of(case.name)
        return Federation(ground, rules, costs[case.name], validation, seed)

    def _costs(
        self, whole: PreTrainedModel, sequences: torch.Tensor
    ) -> dict[str, dict[float, Costs]]:
        """Those of all cases; what has been measured stays, as the clock must not change."""
        settings, found = self._settings, self._store.costs()
        missing = [settings.case(name) for name in settings.cases if name not in found]
        if missing:
            rules = settings.rules
            tokens = sequences[: rules.training.batch]
            found |= measure_costs(
                missing, whole, rules.retentions, tokens, settings.fl_step_seconds
            )
            self._store.keep_costs(found)
        return found

    def _carry(self, ground: Any) -> Carry:
        """Who does the clients' work, on a shared ground."""

        def carry(works: Sequence[Work], payload: bytes) -> Iterator[Update | Failed]:
            clients = {name_of(work.client): work.client for work in works}
            jobs = [
                Job(
                    name_of(work.client),
                    functools.partial(_on_device, self._answer, work),
                    lambda _: None,
                )
                for work in works
            ]
            shared = (ground, self._workers.share(payload))
            for job, outcome in self._workers.outcomes(jobs, *shared):
                if isinstance(outcome, Failure):  # its process died
                    outcome = Failed(clients[job.name], outcome.reason)
                yield outcome

        return carry


def _on_device(answer: Answer, work: Work, ground: Ground, payload: bytes) -> Update | Failed:
    _move(ground.whole, _device())
    return answer(work, ground, payload)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _move(model: nn.Module, where: str) -> None:
    """Moves a model in place."""
    model.to(where)


def _tell(row: Row) -> None:
    """Says what went wrong in a round; that clients drop out or are late is as asked for."""
    for event in row.events:
        if "refused" in event or "failed" in event or event.startswith("no update"):
            line = f"{row.case}, seed {row.seed}, round {row.round}: {event}"
            tqdm.write(line, file=sys.stderr)
