"""Models, endpoints, their runtime and their scaling."""
