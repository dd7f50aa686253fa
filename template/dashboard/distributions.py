"""How features are distributed, in a window and in the training data."""

from collections.abc import Iterator, Mapping
from typing import Any

from dashboard.remembered import remembered
from ops import monitor_page


@remembered(3600)
def of_window(monitor: str, execution: str) -> dict[str, Mapping[str, Any]]:
    """The statistics of the features in the window of a run, by their names."""
    found = monitor_page.documents(monitor, execution)["statistics"].get("features", [])
    return {feature["name"]: feature for feature in found}


@remembered(3600)
def of_training(monitor: str, version: int) -> dict[str, Mapping[str, Any]]:
    """The statistics of the features of a version's training data, by their names.

    Raises:
        ClientError: When they are gone.
    """
    found = monitor_page.baseline(monitor, str(version))
    return {feature["name"]: feature for feature in found["features"]}


def steps(sides: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The distribution functions of a number: which `fraction` of the values is at most `value`.

    Args:
        sides: The statistics of each side, by what it is called. One without values is left out.
    """
    for side, feature in sides.items():
        if "distribution" in feature["numerical_statistics"]:
            for value, fraction in monitor_page.steps(feature):
                yield {"side": side, "value": value, "fraction": fraction}
