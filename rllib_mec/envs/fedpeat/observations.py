"""What the agents of ``fedpeat`` see: numbers of each UE, scaled to be of order 1.

``x`` scaled to its range [low, high] is -1 at low and 1 at high.

| Num | Number   | What it is                                 | Unit    | Scaling              |
|-----|----------|--------------------------------------------|---------|----------------------|
| 0   | gain     | h, channel of the round before             | dB      | (dB - typical) / 10  |
| 1   | cached   | E, retention of its emulator, 0 for none   | -       | range ``retention``  |
| 2   | memory   | largest retention that fits                | -       | range ``retention``  |
| 3   | data     | tokens of its data                         | -       | range ``tokens``     |
| 4   | speed    | of its device when it is not busy          | TFLOP/s | range, its logarithm |
| 5   | busy     | whether it is busy in the coming round     | -       | -1 no, 1 yes         |
| 6   | training | of the coming round, on its emulator       | s       | ln(s / typical)      |
| 7   | upload   | with an equal share, full power and last h | s       | ln(s / typical)      |

A UE without an emulator would train on the largest that fits. Numbers 0, 6 and 7 are cut to
[-3, 3]. "Typical" is that of a UE with geometric means of distance and speed, mean tokens and
the mean retention.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rllib_mec.envs.scaling import scaled
from rllib_mec.system.fedpeat import Federation, FedPEATScenario, Situation
from rllib_mec.system.fedpeat.round import speed, training_work, upload_delay
from rllib_mec.system.radio import Floats, path_gain

Observation = NDArray[np.float32]

NUMBERS = ("gain", "cached", "memory", "data", "speed", "busy", "training", "upload")

_MOST = 3.0


class FedPEATNumbers:
    """The scaled numbers of each UE."""

    def __init__(self, scenario: FedPEATScenario) -> None:
        self.scenario = scenario
        distance = np.sqrt(np.prod(scenario.distance_m))
        self._gain = path_gain(scenario, distance)
        work = training_work(scenario, np.array(np.mean(scenario.tokens)))
        typical_speed = np.exp(np.log(scenario.ue_tflops).mean())
        self._training_s = work * np.mean(scenario.retention) / typical_speed
        self._share = np.array(1 / scenario.num_ues)
        self._upload_s = self._upload(np.array(self._gain))

    def see(self, federation: Federation) -> Observation:
        """Returns the numbers before the coming round of running federations, (B, N, K)."""
        return self.of(federation.last_situation)

    def of(self, now: Situation) -> Observation:
        """Returns the numbers of a situation, (B, N, K).

        Args:
            now: before the coming round, but with the channels of the round before.
        """
        scenario = self.scenario
        held = np.where(now.cached > 0, now.cached, now.most_retention)
        training_s = held * training_work(scenario, now.tokens) / speed(scenario, now)
        # Deep fades go to minus infinity in dB.
        gain = np.maximum(now.gain, 1e-300)
        numbers = (
            _cut(np.log10(gain / self._gain)),
            scaled(now.cached, scenario.retention),
            scaled(now.most_retention, scenario.retention),
            scaled(now.tokens, scenario.tokens),
            scaled(np.log(now.tflops), _range(np.log(scenario.ue_tflops))),
            np.where(now.busy, 1.0, -1.0),
            _cut(np.log(training_s / self._training_s)),
            _cut(np.log(self._upload(gain) / self._upload_s)),
        )
        seen = np.empty((*now.gain.shape, len(NUMBERS)), np.float32)
        for index, values in enumerate(numbers):
            seen[..., index] = values
        return seen

    def _upload(self, gain: Floats) -> Floats:
        power = np.array(self.scenario.uplink_power_w[1])
        return upload_delay(self.scenario, self._share, power, gain)


def _cut(values: Floats) -> Floats:
    return np.clip(values, -_MOST, _MOST)


def _range(values: Floats) -> tuple[float, float]:
    return float(values.min()), float(values.max())
