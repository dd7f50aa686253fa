"""EventBridge and its Scheduler in ministack."""
