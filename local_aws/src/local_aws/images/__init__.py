"""Container images and containers without a container engine."""
