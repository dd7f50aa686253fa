"""The monitors: what has changed since the training."""
