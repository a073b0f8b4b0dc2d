"""``rllib profile``: sweeps the measurements of :mod:`rllib_mec.emulator` into a profile."""
