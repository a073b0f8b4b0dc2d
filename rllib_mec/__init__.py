"""A Ray RLlib plugin: mobile edge fine-tuning, and HMPPO for any cooperative task."""

__version__ = "0.1.0"
