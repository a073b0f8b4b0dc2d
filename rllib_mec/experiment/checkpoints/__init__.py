"""Checkpoints: written whole or not at all, checked when read, and read without running code."""
