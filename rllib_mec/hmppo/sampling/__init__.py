"""Sampling: environments in batches, and the metrics of their episodes."""
