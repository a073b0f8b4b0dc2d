"""The command ``rllib``: one subcommand for all that can be done.

Imports of Ray are inside the commands, so that help, listings and errors come at once.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from rllib_mec import __version__
from rllib_mec.cli_export import export
from rllib_mec.cli_fedtune import fedtune
from rllib_mec.cli_options import ray_options, trust_option, verbose_option
from rllib_mec.cli_profile import profile
from rllib_mec.cli_serve import serve
from rllib_mec.cli_show import show
from rllib_mec.cli_trace import trace
from rllib_mec.cli_train import submit, train
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


for command in (train, submit, show, export, serve, trace, profile, fedtune):
    cli.add_command(command)


@cli.command()
@click.argument("target")
@click.option("--env", help="The environment, if not the one that the target was trained on.")
@click.option("--config", default="{}", help="The environment's env_config, as JSON.")
@click.option("--episodes", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="A .json or .parquet file to write.")
@click.option("--explore", is_flag=True, help="Draw a trained policy's actions, as in training.")
@click.option(
    "--trace-out",
    type=click.Path(path_type=Path),
    help="A directory for the episodes as a trace (environment mec).",
)
@trust_option
def evaluate(
    *,
    target: str,
    env: str | None,
    config: str,
    episodes: int,
    seed: int,
    out: Path | None,
    explore: bool,
    trace_out: Path | None,
    trust: bool,
) -> int:
    """Evaluate TARGET: a checkpoint, or a baseline or bound of `rllib list algorithms`."""
    from rllib_mec.experiment.logs import quieten
    from rllib_mec.source import read_json

    if out is not None and out.suffix not in (".json", ".parquet"):
        raise InputError(f"--out {out}: expected a .json or .parquet file")
    env_config = read_json(config, "--config")
    quieten(0)
    from rllib_mec.experiment.evaluate_command import evaluate_command

    return evaluate_command(target, env, env_config, episodes, seed, out, trust, explore, trace_out)


def _directory(context: click.Context, option: click.Parameter, value: str) -> Path:
    """Returns the directory that an option names."""
    if "://" in value:
        raise InputError(f"--{option.name} {value}: expected a directory, no URI")
    return Path(value)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    callback=_directory,
    default=str(Path("results", "studies")),
    show_default=True,
    help="A directory for results; what is there already is kept.",
)
@click.option("--seeds", type=click.IntRange(min=1), help="Only so many of the file's seeds.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of each seed.")
@click.option("--report/--no-report", default=True, help="Write OUT/report/FILE (default: yes).")
@ray_options
@verbose_option
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
    from rllib_mec.experiment.output import check_output
    from rllib_mec.experiment.report.command import report_command
    from rllib_mec.experiment.report.figures import require_matplotlib
    from rllib_mec.experiment.study.spec import read_file

    check_output(out)
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
@click.option(
    "--out", callback=_directory, default="report", show_default=True, help="A directory."
)
def report(*, runs: tuple[Path, ...], out: Path) -> None:
    """Turn studies into tables, figures and one page.

    RUNS are directories with the results of studies and at most one file of `rllib fedtune`
    (default: those kept beside the package).
    """
    from rllib_mec.experiment.report.command import report_command

    if not runs:
        kept = [folder / "studies" / "results" for folder in _tuned_examples()]
        runs = tuple(path for each in kept for path in sorted(each.glob("*")) if path.is_dir())
        federations = [folder / "federated" / "fed.parquet" for folder in _tuned_examples()]
        runs += tuple(path for path in federations if path.is_file())
        if not runs:
            raise InputError(f"rllib report: expected RUNS: there are no studies in {kept[0]}")
    report_command(runs, out)


_KINDS = ("algorithms", "environments", "scenarios", "examples")


@cli.command("list")
@click.argument("kind", type=click.Choice(_KINDS), required=False)
def list_names(kind: str | None) -> None:
    """List algorithms, environments, scenarios or example files, a line each.

    Examples are for `rllib train file`, those marked so for `rllib study`.
    """
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
        from rllib_mec.system.fedpeat.scenarios import FEDPEAT_SCENARIOS

        every = SCENARIOS | FEDPEAT_SCENARIOS
        return [(name, _summary(scenario)) for name, scenario in every.items()]
    files = [file for folder in _tuned_examples() for file in sorted(folder.rglob("*.yaml"))]
    if not files:
        click.echo("no tuned_examples directory beside the package", err=True)
    return [(str(file), _what_it_is(file)) for file in files]


def _tuned_examples() -> list[Path]:
    """Returns where example files may be: beside the package, or in it."""
    package = Path(__file__).parent
    return [package.parent / "tuned_examples", package / "tuned_examples"]


def _summary(scenario: Any) -> str:
    """Returns what sets a scenario apart from the default one."""
    defaults = type(scenario)().to_dict()
    own = {k: v for k, v in scenario.to_dict().items() if k != "name" and v != defaults[k]}
    return ", ".join(f"{key} {value}" for key, value in own.items()) or "the default"


def _what_it_is(file: Path) -> str:
    """Returns an example's first comment, marked if it is for `rllib study`."""
    text = file.read_text(encoding="utf-8")
    first = text.partition("\n")[0]
    comment = first.lstrip("# ").strip() if first.startswith("#") else ""
    studies = re.search(r"^ +variants:", text, re.MULTILINE)
    return f"[rllib study] {comment}" if studies else comment


if __name__ == "__main__":
    main()
