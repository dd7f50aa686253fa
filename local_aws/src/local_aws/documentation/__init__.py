"""What the documentation says of the code, written from the code."""
