"""What people run: `uv run ops --help`."""
