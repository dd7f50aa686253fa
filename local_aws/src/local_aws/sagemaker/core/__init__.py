"""What all of SageMaker rests on: its service, its protocol, its store."""
