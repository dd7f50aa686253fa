"""A local AWS in which Amazon SageMaker jobs, pipelines and endpoints really run."""
