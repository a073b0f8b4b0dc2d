"""Runs prepared experiments with Ray Tune, one after the other, and reports how they ended.

To be imported after :func:`rllib_mec.experiment.logs.quieten` has been called.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray import tune

from rllib_mec.errors import InputError
from rllib_mec.experiment import announce, connection, interrupt, resources, resume, storage
from rllib_mec.experiment.checkpoints.newest import GoOnFromNewest
from rllib_mec.experiment.plan import Plan
from rllib_mec.experiment.progress import Progress

CLUSTER_MAX_FAILURES = 3
CLUSTER_CHECKPOINT_FREQUENCY = 20
"""Defaults on a cluster, where machines fail; on one machine errors repeat, and both are 0."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How to run, apart from what.

    address: of a running Ray ("auto": the one on this machine); None starts one, unless the
        environment variable RAY_ADDRESS names one.
    num_cpus, num_gpus: of a Ray that is started; None, what the machine has.
    wait_for_resources: seconds that a cluster without autoscaler has to get what a trial needs.
    resume: whether to continue what storage_path/name holds; trust: also if somebody else began it.
    verbose: 0, 1 (workers' and Tune's logs) or 2 (all logs).
    resume_command: what the user is told to type after Ctrl-C.
    """

    address: str | None = None
    num_cpus: int | None = None
    num_gpus: int | None = None
    wait_for_resources: float = 60.0
    resume: bool = False
    trust: bool = False
    verbose: int = 0
    resume_command: str = "rllib train … --resume"

    @property
    def on_cluster(self) -> bool:
        """Whether Ray was started by somebody else."""
        return bool(self.address or os.environ.get("RAY_ADDRESS"))


def run(plans: Sequence[Plan], options: Options) -> int:
    """Runs experiments; returns the command's exit status.

    Returns:
        0, all trials ended well; 1, some trial failed; 130, a signal ended the run.

    Raises:
        InputError: there is nothing to resume, or Ray cannot be had or is too small.
    """
    for plan in plans:
        storage.check_in_job(plan.experiment)
    tuners = [resume.restore(plan, options.trust) if options.resume else None for plan in plans]
    if options.resume and not any(tuners):
        raise InputError(f"nothing to resume in {plans[0].experiment.directory}")
    finished = [t is not None and resume.finished(p, t) for p, t in zip(plans, tuners, strict=True)]
    ok, started = True, False
    with contextlib.ExitStack() as stack:
        for plan, tuner, done in zip(plans, tuners, finished, strict=True):
            announce.before(plan, resuming=tuner is not None)
            if tuner is not None and done:
                interrupt.say(f"{plan.experiment.name} has finished already: nothing to resume")
                ok &= announce.after(plan, tuner.get_results())
                continue
            if not started:
                if not ray.is_initialized():
                    stack.enter_context(ray_session(options))
                stack.enter_context(interrupt.watching())
                for each in plans:
                    if options.on_cluster:
                        resources.check_cluster(each, options.wait_for_resources)
                    else:
                        resources.check_own(each)
                started = True
            plan.environment.register()
            results = (tuner or _new(plan, options)).fit()
            if interrupt.requested():
                interrupt.say(f"stopped; to continue: {options.resume_command}")
                return interrupt.EXIT_CODE
            ok &= announce.after(plan, results)
    return 0 if ok else 1


@contextlib.contextmanager
def ray_session(options: Options) -> Iterator[None]:
    """Starts Ray, or joins one, for a ``with`` block."""
    sized = {"num_cpus": options.num_cpus, "num_gpus": options.num_gpus}
    # One process for each core is faster than several threads for each process.
    env_vars = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": "1"}
    if options.on_cluster:
        if any(size is not None for size in sized.values()):
            raise InputError("--num-cpus, --num-gpus: a Ray that is running already has its own")
        connection.check_address(options.address or os.environ["RAY_ADDRESS"])
        where: dict[str, Any] = {"address": options.address}
    else:
        where = {"address": "local", "include_dashboard": False, **sized}
    try:
        ray.init(
            **where,
            log_to_driver=options.verbose > 0,
            logging_level=logging.INFO if options.verbose else logging.ERROR,
            runtime_env={"env_vars": env_vars},
        )
    except ray.exceptions.AuthenticationError as error:
        raise connection.refused(options.address or os.environ.get("RAY_ADDRESS", "")) from error
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"no Ray: {' '.join(str(error).split())}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _new(plan: Plan, options: Options) -> Any:
    resume.record(plan)
    experiment, form = plan.experiment, plan.experiment.form
    frequency = form.checkpoint_config.checkpoint_frequency
    if frequency is None:
        frequency = CLUSTER_CHECKPOINT_FREQUENCY if options.on_cluster else 0
    max_failures = form.max_failures
    if max_failures is None:
        max_failures = CLUSTER_MAX_FAILURES if options.on_cluster else 0
    return tune.Tuner(
        plan.trainable,
        param_space=plan.param_space,
        tune_config=tune.TuneConfig(
            metric=form.tune_config.metric,
            mode=form.tune_config.mode if form.tune_config.metric else None,
            num_samples=form.num_samples,
            scheduler=plan.scheduler,
            search_alg=plan.search_alg,
            # With a searcher, Tune would name the directory after the whole config.
            trial_dirname_creator=str if plan.search_alg else None,
            max_concurrent_trials=form.tune_config.max_concurrent_trials,
            time_budget_s=form.tune_config.time_budget_s,
        ),
        run_config=tune.RunConfig(
            name=experiment.name,
            storage_path=experiment.storage_path,
            stop=experiment.stop,
            verbose=0,
            callbacks=[
                Progress(experiment.stop, plan.num_trials, plan.searched),
                interrupt.SaveOnInterrupt(),
                GoOnFromNewest(),
                resources.PendingTrials(plan.configs[0], plan.searched),
            ],
            failure_config=tune.FailureConfig(max_failures=max_failures),
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=frequency,
                checkpoint_at_end=form.checkpoint_config.checkpoint_at_end,
                num_to_keep=form.checkpoint_config.num_to_keep,
                checkpoint_score_attribute=form.checkpoint_config.checkpoint_score_attribute,
                checkpoint_score_order=form.checkpoint_config.checkpoint_score_order,
            ),
        ),
    )
