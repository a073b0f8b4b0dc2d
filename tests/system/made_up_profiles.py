"""Small profiles for tests, whose numbers are chosen, not measured."""

from pathlib import Path

from rllib_mec.system.profile import write_profile
from rllib_mec.system.profile_rows import Row

REFERENCE = {0.2: 40.0, 0.4: 30.0, 0.6: 24.0, 0.8: 21.0, 1.0: 20.0}
CODE = {0.2: 12.0, 0.4: 8.0, 0.6: 7.0, 0.8: 6.0, 1.0: 5.0}
"""Perplexity of the plug-in by retention, the last the server's; the emulator's is twice that."""


def row(task="reference", case="local", retention=0.5, plug_in=20.0, seed=0, **values):
    local = case == "local"
    return Row(
        **{
            "task": task,
            "compression": "layer_drop" if local else "none",
            "seed": seed,
            "case": case,
            "retention": retention,
            "kept_layers": round(20 * retention),
            "zero_shot": 3 * plug_in,
            "tuned": (2 if local else 1) * plug_in,
            "plug_in": plug_in,
            "emulator_bytes": 100,
            "adapter_bytes": 10,
            "emulator_parameters": 50,
            "adapter_parameters": 5,
            "flops_per_token": 1e9,
            "seconds_per_step": 0.25,
            "peak_memory_bytes": 1000,
            **values,
        }
    )


def rows_of(curves, seeds=(0, 1), spread=0.5, compression="layer_drop"):
    """Rows whose means over the seeds are ``curves``: perplexity by retention, for each task."""
    middle = sum(seeds) / len(seeds)
    rows = []
    for task, curve in curves.items():
        for retention, plug_in in curve.items():
            for seed in seeds:
                given = plug_in + spread * (seed - middle)
                if retention == 1:
                    rows.append(row(task, "server", 1.0, given, seed))
                else:
                    rows.append(row(task, "local", retention, given, seed, compression=compression))
    return rows


def write(path: Path, curves=None, **options) -> str:
    """Writes a profile of ``curves`` and returns its path."""
    curves = {"reference": REFERENCE, "code": CODE} if curves is None else curves
    write_profile(path, rows_of(curves, **options), {"model": "made up"})
    return str(path)
