"""What runs inside the image: `python -m usecase <command>`."""
