"""What the data-quality monitor will see; imported only where the project has it."""

import polars as pl

from usecase.config import UseCase
from usecase.monitors import constraints, profile
from usecase.monitors.settings import DataQuality


def least_predictions(window: int) -> int:
    """How many predictions a window must have: the default, where that many are in one.

    Args:
        window: Rows of a window.
    """
    return min(DataQuality().min_predictions, window)


def moving(parts: dict[str, pl.DataFrame], use_case: UseCase, known: float) -> list[str]:
    """Which features differ between the oldest and the newest rows of the history."""
    settings = DataQuality(comparison_method="Robust", domain_content_threshold=known)
    train, test = (
        profile.statistics(parts[name].select(use_case.features.names), use_case.features.text)
        for name in ("train", "test")
    )
    found = constraints.check(
        constraints.suggest(train, settings),
        train,
        test,
        dict.fromkeys(use_case.features.names, 1.0),
    )
    names = list(dict.fromkeys(str(one.name) for one in found if one.violated))
    if not names:
        return []
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return [
        f"These change within the history, and will look like drift: {', '.join(names[:10])}{more}."
    ]
