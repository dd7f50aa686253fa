"""Step Functions in ministack."""
