"""What people run: `uv run ops --help`."""


class OpsError(Exception):
    """Something the person at the terminal can fix; the message says what and how."""
