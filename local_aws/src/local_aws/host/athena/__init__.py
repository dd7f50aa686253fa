"""Athena in ministack."""
