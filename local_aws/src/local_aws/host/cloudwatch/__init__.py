"""CloudWatch's alarms in ministack."""
