"""Environment runners that record what they sample, in batches and by episodes."""

from __future__ import annotations

from typing import Any

from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.recording.files import RecordingWriter
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.episode_runner import EpisodeEnvRunner
from rllib_mec.hmppo.team_batch import TeamBatch


class RecordingRunner(MultiAgentEnvRunner):
    """Records each sample of the runner that it is mixed into, as ``config.output`` says.

    ``recording``: whether to; evaluation with a runner of the training turns it off.
    """

    recording = True
    _writer: RecordingWriter | None = None

    def sample(self, **kwargs: Any) -> list[Any]:
        samples = super().sample(**kwargs)
        if self.recording:
            self._record(samples)
        return samples

    def stop(self) -> None:
        try:
            if self._writer is not None:
                self._writer.flush()
        finally:
            super().stop()

    def _record(self, samples: list[Any]) -> None:
        if self._writer is None:
            self._writer = RecordingWriter(
                self.config.output,
                runner=self.worker_index or 0,
                team=self.module.team,
                max_rows=self.config.output_max_rows_per_file,
            )
        for batch in self._batches(samples):
            self._writer.add(batch)

    def _batches(self, samples: list[Any]) -> list[TeamBatch]:
        raise NotImplementedError


class RecordingBatchedEnvRunner(RecordingRunner, BatchedEnvRunner):
    """The batched runner, recording."""

    def _batches(self, samples: list[TeamBatch]) -> list[TeamBatch]:
        return samples


class RecordingEpisodeEnvRunner(RecordingRunner, EpisodeEnvRunner):
    """The runner by episodes, recording them as the learner gets them."""

    def _batches(self, samples: list[Any]) -> list[TeamBatch]:
        episodes = [episode for episode in samples if len(episode) > 0]
        if not episodes:
            return []
        connector = EpisodesToTeamBatch(self.module.team)
        return [connector(episodes=episodes, batch={}, rl_module=self.module)[TEAM_BATCH]]
