"""The learners and batches of HMPPO's tests serve SABPPO's, too."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "hmppo"))


@pytest.fixture
def build_algorithm(ray_session):
    """Builds algorithms and stops them after the test."""
    algorithms = []

    def build_one(config):
        algorithms.append(config.build_algo())
        return algorithms[-1]

    yield build_one
    for algorithm in algorithms:
        algorithm.stop()
