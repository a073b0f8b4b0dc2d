"""Who does jobs: this process, or several of Ray's."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rllib_mec.emulator.progress import bar
from rllib_mec.errors import InputError


@dataclasses.dataclass(frozen=True)
class Job:
    """Something to do.

    call: does it, given what all jobs share, maybe in another process.
    keep: takes its result, in this process.
    """

    name: str
    call: Callable[..., Any]
    keep: Callable[[Any], None]


class Workers:
    """Does jobs one after the other in this process."""

    def run(self, what: str, jobs: Sequence[Job], shared: Any, done: int = 0) -> None:
        """Does all jobs; each result is kept at once, and a failure does not stop the others.

        Args:
            what: for the progress bar. done: further jobs, which had been done before.

        Raises:
            InputError: jobs have failed; names the first.
        """
        if not jobs:
            return
        failures = []
        with bar(what, len(jobs) + done) as progress:
            progress.update(done)
            for job, outcome in self.outcomes(jobs, self.share(shared)):
                if isinstance(outcome, Failure):
                    failures.append(f"{job.name}: {outcome.reason}")
                else:
                    job.keep(outcome)
                progress.update()
        if failures:
            for failure in failures[1:]:
                print(failure, file=sys.stderr)
            raise InputError(f"{len(failures)} of {len(jobs)} failed: {failures[0]}")

    def share(self, value: Any) -> Any:
        """Returns what :meth:`outcomes` takes for a value that several jobs need."""
        return value

    def outcomes(self, jobs: Sequence[Job], *shared: Any) -> Iterator[tuple[Job, Any]]:
        """Does all jobs; yields each with its result or :class:`Failure`, the first done first.

        Args:
            shared: what each call takes, from :meth:`share`.
        """
        for job in jobs:
            try:
                yield job, job.call(*shared)
            except InputError as error:
                yield job, Failure(str(error))


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a job has no result."""

    reason: str


class RayWorkers(Workers):
    """Does several jobs at a time, as tasks of Ray.

    Args:
        count: how many at a time; they share the CPUs and GPUs of the Ray that is running.
        retries: of a job whose process died.
    """

    def __init__(self, count: int, retries: int = 3) -> None:
        self._count, self._retries = count, retries

    def share(self, value: Any) -> Any:
        import ray

        return ray.put(value)

    def outcomes(self, jobs: Sequence[Job], *shared: Any) -> Iterator[tuple[Job, Any]]:
        import ray

        task = ray.remote(_task).options(max_retries=self._retries, **self._resources())
        waiting = list(jobs)
        running: dict[Any, Job] = {}
        while waiting or running:
            while waiting and len(running) < self._count:
                job = waiting.pop(0)
                running[task.remote(job.call, *shared)] = job
            ready, _ = ray.wait(list(running))
            for each in ready:
                job = running.pop(each)
                try:
                    yield job, ray.get(each)
                except ray.exceptions.RayTaskError as error:
                    yield job, Failure(str(error.cause).strip().splitlines()[-1])
                except ray.exceptions.RayError as error:
                    yield job, Failure(str(error).strip().splitlines()[0])

    def _resources(self) -> dict[str, float]:
        """What each task takes: its share of all, but no more than a node has."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        resources = {}
        for name, least in (("CPU", 1.0), ("GPU", 0.0)):
            each = [node.get(name, 0.0) for node in nodes]
            share = min(sum(each) / self._count, max(each))
            resources[f"num_{name.lower()}s"] = max(float(int(share)) if share >= 1 else least, 0)
            if name == "GPU" and 0 < share < 1:
                resources["num_gpus"] = share
        return resources


def _task(call: Callable[..., Any], *shared: Any) -> Any:
    """A job in a process of Ray's, on as many threads as it has CPUs."""
    import ray
    import torch

    cpus = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
    torch.set_num_threads(max(1, int(cpus)))
    return call(*shared)


@contextlib.contextmanager
def workers(
    count: int, address: str | None, num_gpus: int | None, verbose: int, retries: int = 3
) -> Iterator[Workers]:
    """Gives the workers, in a ``with`` block: one is this process, more are of a Ray.

    Args:
        address: of a Ray that is running; None: one is started here.
        retries: of a job whose process died.

    Raises:
        InputError: Ray cannot be had.
    """
    if count == 1 and address is None:
        yield Workers()
        return
    from rllib_mec.experiment.logs import quieten

    quieten(verbose)
    from rllib_mec.experiment.run import Options, ray_session

    options = Options(address=address, num_gpus=num_gpus, verbose=verbose)
    with ray_session(options):
        yield RayWorkers(count, retries)
