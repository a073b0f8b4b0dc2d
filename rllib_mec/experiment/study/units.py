"""The pieces of a study that are carried out by themselves, all of them checked beforehand."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rllib_mec.errors import InputError
from rllib_mec.experiment import environments, settings
from rllib_mec.experiment.plan import Plan, prepare
from rllib_mec.experiment.spec import make as make_experiment
from rllib_mec.experiment.study.checks import check_environments, check_tested, check_variant
from rllib_mec.experiment.study.metrics import MetricNames, metric_names
from rllib_mec.experiment.study.named_files import trace_digest, without_paths
from rllib_mec.experiment.study.results import BASELINE, BOUND, TRAINED
from rllib_mec.experiment.study.spec import Study, config_of, env_config_of, with_ues
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.stacked.members import check_stackable
from rllib_mec.registry import BOUNDS


@dataclasses.dataclass(frozen=True)
class Unit:
    """One thing to carry out: a variant trained on a number of UEs, or a baseline's episodes.

    study: the study's name. variant: its label in the study. They change nothing of the results.
    kind: one of :data:`~rllib_mec.experiment.study.results.KINDS`.
    form: of the experiment to train; for a baseline ``run``, ``env`` and ``env_config``.
    num_ues: trained on. tested: numbers of UEs to evaluate on. None of an environment without UEs.
    seeds: those that are trained together; none for baselines.
    steps: of each seed. episodes, evaluation_seed: of the evaluation. explored: whether what is
    trained is evaluated with drawn actions, too. trace: a digest of the trace that ``env_config``
    names.
    """

    study: str
    variant: str
    kind: str
    form: dict[str, Any]
    num_ues: int | None
    tested: tuple[int | None, ...]
    seeds: tuple[int, ...]
    steps: int
    episodes: int
    evaluation_seed: int
    explored: bool = False
    trace: str | None = None

    @property
    def name(self) -> str:
        """A name for files, which changes with all that the results depend on, and no more.

        Units of the same name, of one study or of several, are carried out once.
        """
        what = dataclasses.asdict(self)
        del what["study"], what["variant"]
        # Names are older than these.
        if not self.explored:
            del what["explored"]
        if self.trace is None:
            del what["trace"]
        described = json.dumps(what, sort_keys=True).encode()
        # Without UEs, the environment tells units apart.
        parts = [
            self.form["run"],
            self.form["env"] if self.num_ues is None else f"{self.num_ues}ue",
        ]
        if len(self.seeds) == 1:
            parts.append(f"seed{self.seeds[0]}")
        parts.append(hashlib.sha256(described).hexdigest()[:8])
        return re.sub(r"[^\w.+-]+", "_", "-".join(parts))

    @property
    def label(self) -> str:
        """What people read."""
        seed = f", seed {self.seeds[0]}" if len(self.seeds) == 1 else ""
        ues = "" if self.num_ues is None else f", {self.num_ues} UEs"
        return f"{self.study}: {self.variant}{ues}{seed}"

    @property
    def stacked(self) -> bool:
        """Whether the seeds are trained as one stack."""
        return "seeds" in self.form

    def plan(self) -> Plan:
        """Returns the checked plan of the training.

        Raises:
            InputError: what cannot work.
        """
        return prepare(make_experiment(self.study, self.form))

    def metric_names(self) -> MetricNames:
        """Returns what is measured of its episodes."""
        of_training = self.form.get("config", self.form)
        # A trace may fit this number of UEs alone.
        return metric_names(self.form["env"], with_ues(of_training["env_config"], self.num_ues))

    def resources(self) -> dict[str, float]:
        """Returns what Ray has to give the task that carries the unit out."""
        if self.kind != TRAINED:
            return {"num_cpus": 1}
        plan = self.plan()
        bundle, *_ = plan.trainable.default_resource_request(plan.param_space).bundles
        return {"num_cpus": bundle.get("CPU", 1), "num_gpus": bundle.get("GPU", 0)}


def units_of(study: Study) -> list[Unit]:
    """Returns the units of a study, baselines first, with everything in them checked.

    Raises:
        InputError: an algorithm, environment or setting that cannot work, with its place.
    """
    check_environments(study)
    units = [*_baselines(study), *_trained(study)]
    first, *others = units
    names = first.metric_names()
    for unit in others:
        if (found := unit.metric_names()) != names:
            raise InputError(
                f"{study.source.place(()) or study.name}: {unit.variant} measures "
                f"{', '.join(found.all)}: expected the metrics of {first.variant} in the same "
                f"study, {', '.join(names.all)}"
            )
    published = study.form.published
    if published is not None and published.metric not in names.metrics:
        place = study.source.place(("published", "metric"))
        raise InputError(
            f"{place} = {published.metric!r}: expected one of {', '.join(names.metrics)}, which "
            f"{study.form.env} measures"
        )
    return units


def _baselines(study: Study) -> Iterator[Unit]:
    from rllib_mec.experiment.evaluate import check_target

    form, evaluation = study.form, study.form.evaluation
    for name in form.baselines:
        env_config = env_config_of(form, None)
        ues = sorted({*(form.num_ues or []), *(form.test_num_ues or [])})
        tested: list[int | None] = [*ues] or [None]
        environment = environments.resolve(form.env)
        with settings.rllib_errors(study.source.place(("config", "env_config"))):
            environment.check(with_ues(env_config, tested[0]))
        with settings.rllib_errors(study.source.place(("baselines",))):
            for num_ues in tested:
                check_target(name, environment, with_ues(env_config, num_ues))
        for num_ues in tested:
            yield Unit(
                study=study.name,
                variant=name,
                kind=BOUND if name in BOUNDS else BASELINE,
                form={
                    "run": name,
                    "env": form.env,
                    "env_config": without_paths(form.env, env_config),
                },
                num_ues=num_ues,
                tested=(num_ues,),
                seeds=(),
                steps=0,
                episodes=evaluation.episodes,
                evaluation_seed=evaluation.seed,
                trace=trace_digest(form.env, env_config),
            )


def _trained(study: Study) -> Iterator[Unit]:
    form = study.form
    for label, variant in form.variants.items():
        if label in form.baselines:
            raise InputError(
                f"{study.source.place(('variants', label))}: is the name of a baseline, too"
            )
        seeds, steps = variant.seeds or form.seeds, variant.steps or form.steps
        ues: list[int | None] = [*(form.num_ues or [])] or [None]
        for num_ues in ues:
            experiment = {
                "run": variant.run,
                "env": variant.env or form.env,
                "config": config_of(form, variant, num_ues),
                "stop": {"num_env_steps_sampled_lifetime": steps},
            }
            for group in _groups(study, label, experiment, seeds):
                config = group["config"]
                env_config = without_paths(group["env"], config["env_config"])
                yield Unit(
                    study=study.name,
                    variant=label,
                    kind=TRAINED,
                    form={**group, "config": {**config, "env_config": env_config}},
                    num_ues=num_ues,
                    tested=tuple(form.test_num_ues or [num_ues]),
                    seeds=tuple(group.get("seeds") or [config["seed"]]),
                    steps=steps,
                    episodes=form.evaluation.episodes,
                    evaluation_seed=form.evaluation.seed,
                    explored=bool(form.evaluation.explored),
                    trace=trace_digest(group["env"], env_config),
                )


def _groups(
    study: Study, label: str, experiment: Mapping[str, Any], seeds: list[int]
) -> list[dict[str, Any]]:
    """Returns the experiments that train all seeds: one stack where that is possible."""
    place = study.source.place(("variants", label))
    if "seed" in experiment["config"]:
        raise InputError(f"{place}: config.seed is set by seeds of the study")
    alone = [{**experiment, "config": {**experiment["config"], "seed": seed}} for seed in seeds]
    plan = check_variant(study, label, alone[0])
    check_tested(study, label, alone[0], plan, study.form.test_num_ues or ())
    config = plan.configs[0]
    for name in ("num_env_runners", "num_learners"):
        if getattr(config, name):
            raise InputError(
                f"{place}: {name} = {getattr(config, name)}: expected 0 in a study, whose units "
                "run beside each other"
            )
    together = len(seeds) > 1 and study.form.stacked is not False
    if not together or not isinstance(config, HMPPOConfig):
        return alone
    config = config.copy(copy_frozen=False)
    config.validate()
    try:
        check_stackable(config)
    except InputError:
        return alone
    return [{**experiment, "seeds": list(seeds)}]
