"""The error that a person sees."""


class OpsError(Exception):
    """Something the person at the terminal can mend; the message says what and how."""
