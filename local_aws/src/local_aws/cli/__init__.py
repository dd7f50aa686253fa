"""`local-aws`: its commands, and the background process that they start and stop."""
