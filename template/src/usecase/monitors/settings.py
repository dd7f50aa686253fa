"""The sections of usecase.toml that are about monitors.

Reads with the standard library alone, as `usecase.config` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from usecase.problem import METRICS

#: What people can want of features of a kind only, in `FeatureConstraints`.
OF_NUMBERS = ("is_non_negative", "min", "max", "range_threshold", "sentinel_threshold")
OF_CATEGORIES = ("domain", "domain_content_threshold")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _fractions(section: object, *names: str) -> None:
    """Require that keys of a section, where they are set, are fractions."""
    for name in names:
        fraction = getattr(section, name)
        _require(
            fraction is None or 0 <= fraction <= 1,
            f"{name}: is {fraction}, must lie between 0 and 1",
        )


def _require_window(window_hours: int, delay_hours: float) -> None:
    _require(window_hours >= 1, "window_hours: must be at least 1")
    _require(delay_hours >= 0, "delay_hours: must not be negative")


@dataclass(frozen=True)
class FeatureConstraints:
    """What people want of a feature, in the place of what the training data suggests.

    Attributes:
        completeness: Least fraction of its values that must be there.
        comparison_threshold: It has drifted when its distribution is further than this from that
            of the training data, however long the window is.
        datatype_check_threshold: Least fraction of its values that have its type.
        domain_content_threshold: Least fraction of its values that are in `domain`.
        domain: The values of a category.
        is_non_negative: Whether a number must not be negative.
        min: The lowest number of the range.
        max: The highest number of the range.
        range_threshold: Largest fraction of its values outside of the range.
        sentinel_threshold: Largest fraction of its values that are one which training hardly had.
    """

    completeness: float | None = None
    comparison_threshold: float | None = None
    datatype_check_threshold: float | None = None
    domain_content_threshold: float | None = None
    domain: tuple[str, ...] | None = None
    is_non_negative: bool | None = None
    min: float | None = None
    max: float | None = None
    range_threshold: float | None = None
    sentinel_threshold: float | None = None

    def __post_init__(self) -> None:
        _fractions(
            self,
            "completeness",
            "comparison_threshold",
            "datatype_check_threshold",
            "domain_content_threshold",
            "range_threshold",
            "sentinel_threshold",
        )
        if self.min is not None and self.max is not None:
            _require(self.min <= self.max, f"min: is {self.min}, more than max, {self.max}")


@dataclass(frozen=True)
class DataQuality:
    """The data-quality monitor; names and defaults are Model Monitor's where it has them.

    Attributes:
        window_hours: Each run looks at the predictions of so many hours.
        delay_hours: The window ends so many hours before the run: predictions come late.
        comparison_threshold: A feature has drifted when its distribution is further than this
            from that of the training data, in a window for whose length the training data does not
            tell how much it differs from itself.
        comparison_method: Robust allows for the noise of small samples, Simple does not.
        datatype_check_threshold: Least fraction of a feature's values that have its type.
        domain_content_threshold: Least fraction of a category's values that training has seen.
        min_predictions: Fewer predictions in a window are a problem.
        max_dropped: Largest fraction of events that could not be read without being a problem.
        features: What people want of some features, by name.
    """

    window_hours: int = 24
    delay_hours: float = 0.5
    comparison_threshold: float = 0.1
    comparison_method: Literal["Robust", "Simple"] = "Robust"
    datatype_check_threshold: float = 1.0
    domain_content_threshold: float = 1.0
    min_predictions: int = 100
    max_dropped: float = 0.05
    features: Mapping[str, FeatureConstraints] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        _require_window(self.window_hours, self.delay_hours)
        _require(self.min_predictions >= 1, "min_predictions: must be at least 1")
        _fractions(
            self,
            "comparison_threshold",
            "datatype_check_threshold",
            "domain_content_threshold",
            "max_dropped",
        )


@dataclass(frozen=True)
class ModelQuality:
    """The model-quality monitor.

    Attributes:
        window_hours: Each run looks at the predictions of so many hours.
        delay_hours: The window ends so many hours before the run: labels come later than the
            predictions.
        metrics: The metrics that are watched.
        tolerance: A metric may be so much worse than in the evaluation, as a share of its value.
        thresholds: What people want of some metrics, in the place of what the tolerance allows.
        min_labels: With fewer labelled predictions nothing is judged, which is a problem. Model
            Monitor too asks for 200 samples before it trusts a metric's standard deviation.
        max_dropped: Largest fraction of events that could not be read without being a problem.
        max_unlabelled: Largest fraction of predictions without a label without being a problem.
        max_unmatched: Largest fraction of predictions that may lack their label while there are
            labels of no known prediction, without being a problem.
    """

    window_hours: int = 168
    delay_hours: float = 24.0
    metrics: tuple[str, ...] = tuple(METRICS)
    tolerance: float = 0.25
    thresholds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    min_labels: int = 200
    max_dropped: float = 0.05
    max_unlabelled: float = 0.5
    max_unmatched: float = 0.1

    def __post_init__(self) -> None:
        _require_window(self.window_hours, self.delay_hours)
        _require(bool(self.metrics), "metrics: is empty; name at least one metric")
        for name in self.metrics:
            _require(
                name in METRICS, f"metrics: unknown {name!r}; use some of {', '.join(METRICS)}"
            )
        _require(0 <= self.tolerance < 1, f"tolerance: is {self.tolerance}, must be 0 to 1")
        for name in self.thresholds:
            _require(
                name in self.metrics,
                f"thresholds: {name!r} is not watched; metrics has {', '.join(self.metrics)}",
            )
        _require(self.min_labels >= 1, "min_labels: must be at least 1")
        _fractions(self, "max_dropped", "max_unlabelled", "max_unmatched")


@dataclass(frozen=True)
class Monitors:
    """The monitors."""

    data_quality: DataQuality = DataQuality()
    model_quality: ModelQuality = ModelQuality()
