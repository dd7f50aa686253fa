"""The error that is the user's to fix."""

import traceback


class UseCaseError(Exception):
    """Something in the data, the configuration or the request is wrong.

    The message is one sentence that names what is wrong and what fixes it; it is shown as it is,
    without a traceback.
    """


class BadRequest(UseCaseError):  # noqa: N818  the name that HTTP gives it
    """A request is wrong; the message names row and field and what fixes it."""


def told(error: Exception) -> str:
    """What an error says, in one line. One that nobody expected leaves its traceback in the log."""
    text = str(error)
    if not isinstance(error, UseCaseError):
        traceback.print_exception(error)
        text = f"unexpected {type(error).__name__}: {error}"
    return " ".join(text.split())


def require(condition: bool, message: str) -> None:
    """Hold a section of usecase.toml to a rule.

    Raises:
        ValueError: With the message, which begins with the key's name, when it is broken.
    """
    if not condition:
        raise ValueError(message)
