"""The page's part about FedPEAT: the control of federations, and federations themselves."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from rllib_mec.experiment.report import elements
from rllib_mec.experiment.report.control_wording import CONTROL_METHOD, control_tables, findings
from rllib_mec.experiment.report.federation import FEDERATION_METHOD, federation_tables

FIGURE5, FEDERATIONS = "figure5.svg", "figure5-federation.svg"
"""The files of the figures."""

_CAPTIONS = {
    FIGURE5: "Figure 5 of FedPEAT (arXiv 2310.17491) anew. Learning curves of all metrics, of the "
    "sampled training episodes: means over seeds, bands from the lowest to the highest seed; "
    "baselines as lines in black. Then rewards on unseen episodes and training times, with 95 % "
    "intervals over seeds.",
    FEDERATIONS: "Federations as rllib fedtune played them: perplexity after each round, bytes, "
    "time and exchanges per round; means over seeds, and from the lowest to the highest seed.",
}


def figure5(
    controls: Sequence[Mapping[str, Any]],
    federation: Mapping[str, Any] | None,
    drawings: Mapping[str, bytes],
) -> list[str]:
    """Returns the elements about studies of other environments than ``mec``, and federations."""
    parts = []
    for place, control in enumerate(controls):
        parts += [
            f"<h2>Control: {html.escape(control['study'])}</h2>",
            elements.p(CONTROL_METHOD),
            elements.bullets(findings(control)),
            *(elements.column_table(*table) for table in control_tables(control)),
        ]
        if not place:
            parts += _figure(FIGURE5, drawings)
    if federation is not None:
        parts += [
            "<h2>FL, FL with adapters, and FedPEAT</h2>",
            elements.p(FEDERATION_METHOD),
            *(elements.column_table(*table) for table in federation_tables(federation)),
            *_figure(FEDERATIONS, drawings),
        ]
    return parts


def _figure(name: str, drawings: Mapping[str, bytes]) -> list[str]:
    if name not in drawings:
        return []
    return [elements.figure(drawings[name], name.partition(".")[0], _CAPTIONS[name])]
