"""The networks as RLlib modules: actors, critics, and the team of them as one policy."""
