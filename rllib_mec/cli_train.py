"""``rllib train`` and ``rllib submit``: how a training is begun, here or on a cluster."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from rllib_mec.cli_options import ray_options, several, trust_option
from rllib_mec.errors import InputError

_form_options = several(
    click.option("--storage-path", help="Where results go (default: ./results)."),
    click.option("--name", help="The experiment's name: results go to storage-path/name."),
    click.option("--resume", is_flag=True, help="Continue what storage-path/name holds."),
    click.option("--restore", type=click.Path(path_type=Path), help="Begin at a checkpoint."),
    trust_option,
    click.option("--num-samples", type=int, help="Trials for each point of the grid."),
    click.option("--checkpoint-freq", type=int, help="Iterations between checkpoints; 0: none."),
    click.option(
        "--checkpoint-at-end/--no-checkpoint-at-end",
        default=None,
        help="Save a checkpoint at the end (default: yes).",
    ),
    click.option("--keep-checkpoints-num", type=int, help="Checkpoints kept (default: all)."),
    click.option("--checkpoint-score-attr", help="Keep the best checkpoints by this result."),
    click.option("--seed", type=int, help="Goes before config.seed."),
    click.option(
        "--wait-for-resources",
        type=click.FloatRange(min=0),
        default=60.0,
        help="Seconds for a cluster to get what a trial needs (default: 60).",
    ),
    click.option("-v", "--verbose", count=True, help="Logs of workers and Tune; -vv: all."),
)
"""Options of all ways of training; not given, they leave the file's values."""

_run_options = several(ray_options, _form_options)
"""The same, where Ray may be said."""


@click.group(invoke_without_command=True)
@click.option("--algo", "--run", "algo", help="A name of `rllib list algorithms`.")
@click.option("--env", help="mec, a Gymnasium id, package.module:Class, pettingzoo:module.")
@click.option("--config", default="{}", help="Settings of the algorithm, as JSON.")
@click.option("--stop", default="{}", help="When to end, as JSON (default: at Ctrl-C).")
@_run_options
@click.pass_context
def train(
    context: click.Context, algo: str | None, env: str | None, config: str, stop: str, **flags: Any
) -> int | None:
    """Train: from a YAML file (`rllib train file F.yaml`) or from options.

    \b
    rllib train file tuned_examples/NAME.yaml
    rllib train --algo PPO --env CartPole-v1 --stop '{"training_iteration": 10}'
    rllib train --restore CHECKPOINT --stop '{"training_iteration": 20}'
    """  # noqa: D301 (click wants the character)
    if context.invoked_subcommand is not None:
        for name in context.params:
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                flag = f"--{name.replace('_', '-')}"
                raise InputError(f"{flag}: options stand behind the file: rllib train file F.yaml")
        return None
    from rllib_mec.experiment.spec import make
    from rllib_mec.source import read_json

    form = {"run": algo, "env": env, "config": read_json(config, "--config")}
    if flags["restore"] is not None and (algo is None or env is None):
        from rllib_mec.experiment.checkpoints.reading import experiment_of

        saved = experiment_of(flags["restore"].absolute(), flags["trust"])
        algo, env = algo or saved["run"], env or saved["env"]
        form = {"run": algo, "env": env, "config": saved["config"] | form["config"]}
    if algo is None or env is None:
        raise InputError("rllib train: expected `file F.yaml`, --algo and --env, or --restore")
    form["stop"] = read_json(stop, "--stop")
    name = flags.pop("name") or re.sub(r"[^\w.+-]+", "_", f"{algo}_{env}")
    return _train([make(name, form, flags=_form_flags(flags))], context.obj, flags)


@train.command("file")
@click.argument("file", type=click.Path(path_type=Path))
@_run_options
@click.pass_obj
def train_file(arguments: list[str], file: Path, **flags: Any) -> int:
    """Train the experiments of a YAML file, one after the other."""
    return _train(_experiments(file, flags), arguments, flags)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--address",
    envvar="RAY_API_SERVER_ADDRESS",
    required=True,
    help="The cluster's dashboard, for example http://ray-head:8265.",
)
@click.option(
    "--working-dir",
    type=click.Path(path_type=Path),
    help="A directory to send, with FILE and your own modules in it (default: FILE alone).",
)
@click.option("--package/--no-package", default=True, help="Send rllib_mec, too (default: yes).")
@click.option("--wait/--no-wait", default=True, help="Follow the job to its end (default: yes).")
@_form_options
@click.pass_context
def submit(
    context: click.Context,
    *,
    file: Path,
    address: str,
    working_dir: Path | None,
    package: bool,
    wait: bool,
    **flags: Any,
) -> int:
    """Send `rllib train file FILE` to a cluster as a Ray job, and follow it.

    The exit code is that of the training; 1 if the job was stopped, 130 after Ctrl-C, when it
    goes on.
    """
    from rllib_mec.experiment.logs import quieten

    quieten(flags["verbose"])
    from rllib_mec.experiment.submit import Submission, flags_of
    from rllib_mec.experiment.submit import submit as send

    start = flags["restore"]
    if start is not None and not start.is_absolute():
        raise InputError(
            f"--restore {start}: expected an absolute path that the cluster's nodes reach"
        )
    typed = {
        name: value
        for name, value in flags.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    resume = [] if flags["resume"] else ["--resume"]
    submission = Submission(
        file=file,
        address=address.rstrip("/"),
        flags=flags_of(typed),
        working_dir=working_dir,
        package=package,
        wait=wait,
        resume_command=shlex.join(["rllib", *context.obj, *resume]),
    )
    return send(_experiments(file, flags), submission)


def _experiments(file: Path, flags: dict[str, Any]) -> list[Any]:
    """Reads a file's experiments, with the options that were given."""
    from rllib_mec.experiment.spec import read_file

    name = flags.get("name")
    experiments = read_file(file, _form_flags(flags))
    if name is not None:
        if len(experiments) > 1:
            raise InputError(f"--name {name}: {file} has {len(experiments)} experiments")
        experiments = [dataclasses.replace(experiments[0], name=name)]
    return experiments


def _form_flags(flags: dict[str, Any]) -> dict[str, Any]:
    """Returns the options that were given, under the keys of the experiment's form."""
    keys = {
        "storage_path": "storage_path",
        "num_samples": "num_samples",
        "checkpoint_freq": "checkpoint_config.checkpoint_frequency",
        "checkpoint_at_end": "checkpoint_config.checkpoint_at_end",
        "keep_checkpoints_num": "checkpoint_config.num_to_keep",
        "checkpoint_score_attr": "checkpoint_config.checkpoint_score_attribute",
        "seed": "config.seed",
    }
    return {key: flags[flag] for flag, key in keys.items() if flags[flag] is not None}


def _train(experiments: list[Any], arguments: list[str], flags: dict[str, Any]) -> int:
    from rllib_mec.experiment.logs import quieten

    quieten(flags["verbose"])
    from rllib_mec.experiment.plan import begin_at, prepare
    from rllib_mec.experiment.run import Options, run

    resume = [] if flags["resume"] else ["--resume"]
    options = Options(
        address=flags["address"],
        num_cpus=flags["num_cpus"],
        num_gpus=flags["num_gpus"],
        wait_for_resources=flags["wait_for_resources"],
        resume=flags["resume"],
        trust=flags["trust"],
        verbose=flags["verbose"],
        resume_command=shlex.join(["rllib", *arguments, *resume]),
    )
    plans = [prepare(experiment) for experiment in experiments]
    if flags["restore"] is not None:
        plans = [begin_at(plan, flags["restore"].absolute()) for plan in plans]
    return run(plans, options)
