"""The error that is the user's to fix."""


class UseCaseError(Exception):
    """Something in the data, the configuration or the request is wrong.

    The message is one sentence that names what is wrong and what fixes it; it is shown as it is,
    without a traceback.
    """


class BadRequest(UseCaseError):  # noqa: N818  the name that HTTP gives it
    """A request is wrong; the message names row and field and what fixes it."""


class ModelError(UseCaseError):
    """The model has answered what is no answer; the message names the row."""
