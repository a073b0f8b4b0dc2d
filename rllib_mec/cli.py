"""The command ``rllib``: train, submit, evaluate, report, list.

Imports of Ray are inside the commands, so that help, listings and errors come at once.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from rllib_mec import __version__
from rllib_mec.errors import InputError


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 well, 1 a trial failed, 2 bad input, 130 interrupted."""
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        status = cli.main(arguments, "rllib", standalone_mode=False, obj=arguments)
    except InputError as error:
        click.echo(f"error: {' '.join(str(error).split())}", err=True)
        status = 2
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = 2
    except click.ClickException as error:
        click.echo(f"error: {' '.join(error.format_message().split())}", err=True)
        status = 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        status = 130
    sys.exit(status or 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rllib_mec")
def cli() -> None:
    """Train and evaluate with RLlib's new API stack."""


_trust = click.option(
    "--trust", is_flag=True, help="Run code that a checkpoint or a run of others' holds or names."
)


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that all ways of training share; not given, they leave the file's values."""
    options = [
        click.option("--address", help="A running Ray, for example auto or ray-head:6379."),
        click.option("--num-cpus", type=int, help="CPUs of the Ray that is started."),
        click.option("--num-gpus", type=int, help="GPUs of the Ray that is started."),
    ]
    for option in reversed(options):
        command = option(command)
    return _form_options(command)


def _form_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds those of the options that do not depend on where Ray is."""
    at_end = "--checkpoint-at-end/--no-checkpoint-at-end"
    options = [
        click.option("--storage-path", help="Where results go (default: ./results)."),
        click.option("--name", help="The experiment's name: results go to storage-path/name."),
        click.option("--resume", is_flag=True, help="Continue what storage-path/name holds."),
        click.option("--restore", type=click.Path(path_type=Path), help="Begin at a checkpoint."),
        _trust,
        click.option("--num-samples", type=int, help="Trials for each point of the grid."),
        click.option(
            "--checkpoint-freq", type=int, help="Iterations between checkpoints; 0: none."
        ),
        click.option(at_end, default=None, help="Save a checkpoint at the end (default: yes)."),
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
    ]
    for option in reversed(options):
        command = option(command)
    return command


@cli.group(invoke_without_command=True)
@click.option("--algo", "--run", "algo", help="A name of `rllib list algorithms`.")
@click.option("--env", help="mec, a Gymnasium id, package.module:Class, pettingzoo:module.")
@click.option("--config", default="{}", help="Settings of the algorithm, as JSON.")
@click.option("--stop", default="{}", help="When to end, as JSON (default: at Ctrl-C).")
@_run_options
@click.pass_context
def train(
    context: click.Context, algo: str | None, env: str | None, config: str, stop: str, **flags: Any
) -> int | None:
    r"""Train: from a YAML file (`rllib train file F.yaml`) or from options.

    \b
    rllib train file tuned_examples/NAME.yaml
    rllib train --algo PPO --env CartPole-v1 --stop '{"training_iteration": 10}'
    rllib train --restore CHECKPOINT --stop '{"training_iteration": 20}'
    """
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


@cli.command()
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


@cli.command()
@click.argument("target")
@click.option("--env", help="The environment, if not the one that the target was trained on.")
@click.option("--config", default="{}", help="The environment's env_config, as JSON.")
@click.option("--episodes", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="A .json or .parquet file to write.")
@click.option("--explore", is_flag=True, help="Draw a trained policy's actions, as in training.")
@_trust
def evaluate(
    *,
    target: str,
    env: str | None,
    config: str,
    episodes: int,
    seed: int,
    out: Path | None,
    explore: bool,
    trust: bool,
) -> int:
    """Evaluate TARGET: a checkpoint, or a baseline or bound of `rllib list algorithms`."""
    from rllib_mec.experiment.logs import quieten
    from rllib_mec.source import read_json

    if out is not None and out.suffix not in (".json", ".parquet"):
        raise InputError(f"--out {out}: expected a .json or .parquet file")
    env_config = read_json(config, "--config")
    quieten(0)
    from rllib_mec.experiment.evaluate import evaluate_command

    return evaluate_command(target, env, env_config, episodes, seed, out, trust, explore)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("results", "studies"))
@click.option("--seeds", type=click.IntRange(min=1), help="Only so many of the file's seeds.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of each seed.")
@click.option("--report/--no-report", default=True, help="Write OUT/report/FILE (default: yes).")
@click.option("--address", help="A running Ray, for example auto or ray-head:6379.")
@click.option("--num-cpus", type=int, help="CPUs of the Ray that is started.")
@click.option("--num-gpus", type=int, help="GPUs of the Ray that is started.")
@click.option("-v", "--verbose", count=True, help="Logs of Ray; -vv: all.")
@click.pass_obj
def study(
    arguments: list[str],
    *,
    file: Path,
    out: Path,
    seeds: int | None,
    steps: int | None,
    report: bool,
    address: str | None,
    num_cpus: int | None,
    num_gpus: int | None,
    verbose: int,
) -> int:
    """Train and evaluate the studies of a YAML file, or go on with them."""
    from rllib_mec.experiment.logs import quieten
    from rllib_mec.experiment.report.command import report_command
    from rllib_mec.experiment.report.figures import require_matplotlib
    from rllib_mec.experiment.study.spec import read_file

    if report:
        require_matplotlib()  # now, not after the hours that a study takes

    studies = read_file(file, seeds, steps)
    quieten(verbose)
    from rllib_mec.experiment.run import Options
    from rllib_mec.experiment.study.run import run
    from rllib_mec.experiment.study.units import units_of

    options = Options(
        address=address,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        verbose=verbose,
        resume_command=shlex.join(["rllib", *arguments]),
    )
    changes = {"--seeds": seeds, "--steps": steps}
    given = [str(part) for pair in changes.items() if pair[1] is not None for part in pair]
    command = shlex.join(["rllib", "study", str(file), *given])
    units = [units_of(each) for each in studies]
    status = run(studies, units, out.absolute(), options, command)
    if status == 0 and report:
        report_command([out / each.name for each in studies], out / "report" / file.stem)
    return status


@cli.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default="report", show_default=True)
def report(*, runs: tuple[Path, ...], out: Path) -> None:
    """Turn studies into tables, figures and one page.

    RUNS are directories with the results of studies (default: those kept beside the package).
    """
    from rllib_mec.experiment.report.command import report_command

    if not runs:
        kept = [folder / "studies" / "results" for folder in _tuned_examples()]
        runs = tuple(path for each in kept for path in sorted(each.glob("*")) if path.is_dir())
        if not runs:
            raise InputError(f"rllib report: expected RUNS: there are no studies in {kept[0]}")
    report_command(runs, out)


_KINDS = ("algorithms", "environments", "scenarios", "examples")


@cli.command("list")
@click.argument("kind", type=click.Choice(_KINDS), required=False)
def list_names(kind: str | None) -> None:
    """List algorithms, environments, scenarios or example files, a line each."""
    for each in [kind] if kind else _KINDS:
        if kind is None:
            click.echo(f"{each}:")
        rows = _rows(each)
        width = max((len(name) for name, _ in rows), default=0)
        for name, summary in rows:
            click.echo(f"{'' if kind else '  '}{name:<{width}}  {summary}".rstrip())


def _rows(kind: str) -> list[tuple[str, str]]:
    from rllib_mec import registry

    if kind == "algorithms":
        entries = registry.ALGORITHMS | registry.BOUNDS
        return [(name, entry.summary) for name, entry in entries.items()]
    if kind == "environments":
        return [(name, entry.summary) for name, entry in registry.ENVIRONMENTS.items()]
    if kind == "scenarios":
        from rllib_mec.system import SCENARIOS

        return [(name, _summary(scenario)) for name, scenario in SCENARIOS.items()]
    files = [file for folder in _tuned_examples() for file in sorted(folder.rglob("*.yaml"))]
    if not files:
        click.echo("no tuned_examples directory beside the package", err=True)
    return [(str(file), _first_comment(file)) for file in files]


def _tuned_examples() -> list[Path]:
    """Returns where example files may be: beside the package, or in it."""
    package = Path(__file__).parent
    return [package.parent / "tuned_examples", package / "tuned_examples"]


def _summary(scenario: Any) -> str:
    """Returns what sets a scenario apart from the default one."""
    defaults = type(scenario)().to_dict()
    own = {k: v for k, v in scenario.to_dict().items() if k != "name" and v != defaults[k]}
    return ", ".join(f"{key} {value}" for key, value in own.items()) or "the default"


def _first_comment(file: Path) -> str:
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


if __name__ == "__main__":
    main()
