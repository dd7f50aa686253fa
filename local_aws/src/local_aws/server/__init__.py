"""What listens: ministack's services and our SageMaker, or SageMaker alone."""
