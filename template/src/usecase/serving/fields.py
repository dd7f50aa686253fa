"""The fields of a row of CSV."""

import json
import math

#: The largest number of 32 bits, which is what the model computes with.
LARGEST = 3.4028234663852886e38


def number(text: str) -> float | None:
    """The number of a field, `None` for an empty one.

    Raises:
        ValueError: When it is none that the model can compute with.
    """
    if not text:
        return None
    if "_" in text:  # which Python allows in numbers
        raise ValueError
    return finite(float(text))


def finite(value: float) -> float:
    """The number itself.

    Raises:
        ValueError: When it has no place in 32 bits.
    """
    if abs(value) > LARGEST or math.isnan(value):
        raise ValueError
    return value


def shown(value: object) -> str:
    """A value for a message, shortened."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"
