"""Amazon SageMaker: the control plane, and the jobs and endpoints that it runs as processes.

Nothing in here imports the emulator that hosts it: it needs an S3 and a callable that takes its
EventBridge events, see `local_aws.server.alone`.
"""
