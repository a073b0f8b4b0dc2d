"""Traces: episodes of the system in Parquet files, recorded, checked and replayed."""

from rllib_mec.traces.files import Recording, read_file
from rllib_mec.traces.replay import MODES, Replay
from rllib_mec.traces.trace import Trace, read_trace, write_trace

__all__ = ["MODES", "Recording", "Replay", "Trace", "read_file", "read_trace", "write_trace"]
