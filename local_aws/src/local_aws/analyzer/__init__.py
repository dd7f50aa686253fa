"""What runs for SageMaker Model Monitor's own images, which cannot be had outside AWS.

A program of its own: it knows nothing of the rest of the package, and is run as a container is.
"""
