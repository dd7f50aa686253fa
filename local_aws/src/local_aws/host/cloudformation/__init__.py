"""CloudFormation in ministack."""
