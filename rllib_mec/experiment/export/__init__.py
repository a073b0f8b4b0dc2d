"""``rllib export``: what a checkpoint has learned as files that need neither Ray nor torch."""
