"""The workflows as SageMaker Pipelines, a module each."""
