"""Questions that are asked of models now and then, each a command of its own."""
