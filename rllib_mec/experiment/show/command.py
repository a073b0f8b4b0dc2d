"""``rllib show``: plays an episode and writes it as a page, a figure and a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_mec import __version__
from rllib_mec.baselines.policies import NAMES
from rllib_mec.experiment.output import check_output, write_output
from rllib_mec.experiment.report.figures import require_matplotlib
from rllib_mec.experiment.show import fedpeat_view, mec_view
from rllib_mec.experiment.show.episode import hold, play
from rllib_mec.experiment.show.figure import draw
from rllib_mec.experiment.show.page import page
from rllib_mec.experiment.show.played import HOLD, Played
from rllib_mec.experiment.show.table import parquet_of


def show_command(
    target: str,
    env: str | None,
    env_config: Mapping[str, Any],
    seed: int,
    out: Path,
    trust: bool = False,
    explore: bool = False,
) -> None:
    """Plays the episode and writes ``episode.html``, ``.svg``, ``.png`` and ``.parquet``.

    Raises:
        InputError: see :func:`rllib_mec.experiment.show.episode.play`; no matplotlib, or ``out``
            cannot be written.
    """
    require_matplotlib("show")
    check_output(out)
    played = play(target, env, env_config, seed, trust, explore)
    files = show_files(played, target, seed, explore)
    write_output(out, files)


def show_files(played: Played, target: str, seed: int, explore: bool) -> dict[str, bytes]:
    """Returns the files by name; the same episode gives the same bytes."""
    other = None if played.policy == HOLD else hold(played)
    view = (mec_view if played.of_mec else fedpeat_view).view(played, other)
    about = _about(played, target, seed, explore)
    return {
        "episode.html": page(view, about, played.scenario.to_dict()).encode(),
        **draw(view, view.sentences[0]),
        "episode.parquet": parquet_of(played, about),
    }


def _about(played: Played, target: str, seed: int, explore: bool) -> dict[str, str]:
    """What was played. Of a checkpoint its directory's name alone: paths are a machine's own."""
    learned = target not in NAMES
    return {
        "policy": played.policy,
        **({"checkpoint": Path(target).absolute().name} if learned else {}),
        "environment": "mec" if played.of_mec else "fedpeat",
        "scenario": played.scenario.name,
        "UEs": str(played.num_ues),
        "seed": str(seed),
        **({"actions": "drawn" if explore else "most probable"} if learned else {}),
        "rllib_mec": __version__,
    }
