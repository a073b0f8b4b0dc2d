"""What tests of whole algorithms share."""

import pytest


@pytest.fixture
def impatient(monkeypatch):
    """An algorithm gives up after ten iterations without a sample, however short they were."""
    from rllib_mec.hmppo.sampling import watchdog

    monkeypatch.setattr(watchdog, "MOST_SECONDS_WITHOUT_A_SAMPLE", 0.0)
    monkeypatch.setattr(watchdog, "PAUSE_S", 0.01)


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
