"""``rllib serve``: an exported orchestrator on Ray Serve."""
