"""The settings of RLlib's ``offline_data`` that say how to record: which are honoured, and checks.

``output`` and ``output_max_rows_per_file`` are honoured. All others of that kind have no effect
on HMPPO's recordings; a recording with one of them set is refused.
"""

from __future__ import annotations

import os
from typing import Any

from pyarrow import fs
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from rllib_mec.errors import InputError
from rllib_mec.hmppo.recording.files import locate

DEFAULTS = {"output_write_episodes": False, "output_write_remaining_data": True}
"""HMPPO's values where RLlib's defaults say what HMPPO does not do."""

_INSTEAD = {
    "output_config": "no key has a meaning",
    "output_compress_columns": "Parquet compresses all columns",
    "output_max_file_size": "set output_max_rows_per_file",
    "output_write_remaining_data": "all rows are written",
    "output_write_method": "recordings are Parquet files",
    "output_write_method_kwargs": "recordings have one form",
    "output_filesystem": "give a URI as output",
    "output_filesystem_kwargs": "give a URI as output",
    "output_write_episodes": "recordings hold a row for each step",
}
"""Settings without an effect, and what to know about them."""

_NAMES = ("", "logdir", "dataset")
"""Values of ``output`` with a meaning of their own on RLlib's old API stack."""


def absolute(output: Any) -> Any:
    """Returns ``output``, if it is a path, as one that does not depend on where a runner works."""
    is_path = isinstance(output, (str, os.PathLike)) and output not in _NAMES
    return os.path.abspath(output) if is_path and "://" not in os.fspath(output) else output


def check(config: Any) -> None:
    """Checks the settings.

    Raises:
        InputError: ``output`` is no directory or URI, evaluation is to be recorded, or a setting
            has no effect.
    """
    if isinstance(config.evaluation_config, dict) and config.evaluation_config.get("output"):
        raise InputError("evaluation_config.output: expected none, only training is recorded")
    output, most = config.output, config.output_max_rows_per_file
    if output is None:
        return
    if not isinstance(output, (str, os.PathLike)) or output in _NAMES:
        raise InputError(f"output = {output!r}: expected a directory or a URI")
    try:
        filesystem, path = locate(output)
        found = filesystem.get_file_info(path).type
    except InputError as error:
        raise InputError(f"output = {error}") from None
    except OSError as error:
        raise InputError(f"output = {output!r}: {' '.join(str(error).split())}") from None
    if found == fs.FileType.File:
        raise InputError(f"output = {output!r}: expected a directory, this is a file")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise InputError(f"output_max_rows_per_file = {most!r}: expected a whole number >= 1")
    defaults = vars(AlgorithmConfig()) | DEFAULTS
    for name, instead in _INSTEAD.items():
        value = getattr(config, name)
        if value != defaults[name]:
            raise InputError(f"{name} = {value!r}: expected {defaults[name]!r}: {instead}")
