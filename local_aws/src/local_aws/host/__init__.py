"""ministack in this process: what connects it with our SageMaker, and what it lacks."""
