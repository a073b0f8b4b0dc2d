"""What tests of whole algorithms share."""

import pytest


@pytest.fixture
def build(ray_session):
    """Builds algorithms and stops them after the test."""
    algorithms = []

    def build_one(config):
        algorithms.append(config.build_algo())
        return algorithms[-1]

    yield build_one
    for algorithm in algorithms:
        algorithm.stop()
