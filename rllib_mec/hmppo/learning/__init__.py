"""Learning: from a batch of steps to advantages, losses and updates."""
