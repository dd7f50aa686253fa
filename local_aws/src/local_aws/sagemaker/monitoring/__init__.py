"""Model Monitor: definitions, schedules and executions."""
