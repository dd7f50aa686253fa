"""Put a data set in the order of time, and try a model on it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from workflows import names

from adopt import first_fit
from adopt.columns import Column, Problem
from adopt.files import Measures
from adopt.first_fit import Predict
from ops import OpsError
from ops.tables import spread
from usecase import config, metrics, prepare
from usecase.config import UseCase
from usecase.monitors.settings import ModelQuality
from usecase.problem import Target

#: So large a fraction of the rows is history; two later parts are the traffic of `poe local`.
HISTORY, TRAFFIC = 0.7, 0.15
#: With fewer rows the parts are too small to train and to judge anything.
LEAST_ROWS = 100
#: Where a file has no time, its rows are spread over so many days, from this one on.
START, DAYS = datetime(2024, 1, 1), 300  # noqa: DTZ001 - times in tables are UTC, without a zone
#: The trial looks at so many rows of each part of the data.
SAMPLE = 50_000
Measured = tuple[npt.NDArray[Any], npt.NDArray[Any]]
#: Fits a model to training and validation data.
Fit = Callable[[pl.DataFrame, pl.DataFrame], Predict]
#: `poe local` asks for so many predictions of each part of the traffic.
WINDOW = 1500
#: How often the metric is measured on rows drawn from the test data, to know its spread.
DRAWS = 30


@dataclass(frozen=True)
class Order:
    """The rows in the order of time.

    Attributes:
        rows: Their places in the file.
        times: Their times, in this order.
        made: How times were made, in words, where the file has none.
    """

    rows: pl.Series
    times: pl.Series
    made: str = ""


def order(time: Column | None, truth: pl.Series) -> Order:
    """Put the rows whose target is known in the order of time.

    Args:
        time: The column to go by; `None` goes by the file, unless that is sorted by the target or
            leaves a part of the data without a class: then the rows are dealt out.
        truth: The target.

    Raises:
        OpsError: When the column has no times, or too few rows are left.
    """
    table = pl.DataFrame({"truth": truth}).with_row_index("row").drop_nulls()
    if time is not None:
        table = table.with_columns(time=as_time(time.values).gather(table["row"])).drop_nulls()
    if table.height < LEAST_ROWS:
        raise OpsError(f"only {table.height} rows can be used; at least {LEAST_ROWS} are needed")
    if time is None:
        if not grouped(table["truth"]) and not scarce(table["truth"], made_up(table.height)):
            made = "The file has no time: the order of its rows stands for it."
            return Order(table["row"], made_up(table.height), made)
        made = "The file has no time, and is sorted by its target: its rows are mixed."
        return Order(table["row"].gather(mixed(table["truth"])), made_up(table.height), made)
    if table["time"].n_unique() < 2:
        raise OpsError(f"{time.name}: is the same in all rows; leave out --time")
    table = table.sort("time", "row")
    if table["time"].dtype.is_numeric():
        made = f"{time.name} is not a date: the order by it stands for time."
        return Order(table["row"], made_up(table.height), made)
    return Order(table["row"], table["time"])


def mixed(truth: pl.Series) -> pl.Series:
    """Places of rows in an order in which each part has its share of each class."""
    table = pl.DataFrame({"truth": truth}).with_row_index("place")
    if truth.dtype == pl.Float64:
        return table["place"].shuffle(seed=0)
    share = (pl.int_range(pl.len()) + 0.5) / pl.len()
    return table.sort(share.over("truth"), maintain_order=True)["place"]


def scarce(truth: pl.Series, times: pl.Series) -> list[object]:
    """The classes that are not in every part of the data that a training splits off.

    Args:
        truth: The target in the order of time.
        times: The times.
    """
    if truth.dtype == pl.Float64:
        return []
    split = config.Split()
    everywhere = set(truth.unique())
    classes = sorted(everywhere)
    for rows in (cuts(times)[0], len(truth)):
        test, validation = round(rows * split.test), round(rows * split.validation)
        train = rows - test - validation
        for start, length in ((0, train), (train, validation), (train + validation, test)):
            everywhere &= set(truth[start : start + length])
    return [name for name in classes if name not in everywhere]


def as_time(values: pl.Series) -> pl.Series:
    """Dates or times; numbers as they are, unless they write a date, a year or a Unix time.

    Raises:
        OpsError: When it is text.
    """
    if isinstance(values.dtype, pl.Date | pl.Datetime):
        return values
    if not values.dtype.is_numeric():
        first = values.drop_nulls().head(1).to_list() or ["nothing"]
        raise OpsError(
            f"{values.name}: {first[0]!r} is not a time that can be read; write YYYY-MM-DD HH:MM:SS"
        )
    forms: dict[tuple[int, int], Callable[[], pl.Series]] = {
        (1900, 2200): (values.cast(pl.String) + "-01-01").str.to_date,
        (19_000_101, 22_001_231): lambda: values.cast(pl.String).str.to_date(
            "%Y%m%d", strict=False
        ),
        (5 * 10**8, 4 * 10**9): lambda: pl.from_epoch(values, "s").cast(pl.Datetime("us")),
        (5 * 10**11, 4 * 10**12): lambda: pl.from_epoch(values, "ms").cast(pl.Datetime("us")),
    }
    for (least, most), form in forms.items():
        if values.dtype.is_integer() and values.drop_nulls().is_between(least, most).all():
            times = form()
            return times if times.null_count() == values.null_count() else values
    return values


def made_up(rows: int) -> pl.Series:
    """Times for rows that have none, at equal distances."""
    step = DAYS * 86_400 / rows
    seconds = (pl.int_range(rows, eager=True) * step).cast(pl.Int64)
    return (seconds * 1_000_000).cast(pl.Duration("us")) + START


def grouped(truth: pl.Series) -> bool:
    """Whether rows are sorted by the target, so that later ones tell nothing about earlier ones."""
    if truth.dtype == pl.Float64:
        place = pl.DataFrame({"truth": truth, "row": range(len(truth))})
        together = place.select(pl.corr("truth", "row", method="spearman")).item()
        return not math.isnan(together) and abs(together) > 0.9
    changes = int((truth != truth.shift()).sum())
    shares = truth.value_counts(normalize=True)["proportion"].to_numpy()
    return bool(changes < 0.1 * len(truth) * (1 - np.sum(shares**2)))


def cuts(times: pl.Series) -> tuple[int, int]:
    """How many rows are history, and how many are that or the first traffic.

    A day is not divided, as long as the parts get nearly the size that they should have.
    """
    rows, days = len(times), times.cast(pl.Date)
    found = []
    for share in (HISTORY, HISTORY + TRAFFIC):
        wanted = round(share * rows)
        first = int(days.search_sorted(days[wanted], side="left"))
        found.append(first if wanted - first <= rows / 50 else wanted)
    return found[0], found[1]


def months(times: pl.Series) -> int:
    """Months of which all these times are within the newest."""
    sorted_days = times.cast(pl.Date).sort()
    days: int = (sorted_days[-1] - sorted_days[0]).days
    return days // 30 + 1


def leaf(truth: pl.Series) -> dict[str, float]:
    """The size of the smallest leaf for data of this size: a hyperparameter of each framework.

    XGBoost counts the weight of a leaf, the sum of the second derivatives of the loss, which for
    classes is the variance of the target; LightGBM and scikit-learn count its rows, by default at
    least 20. What is right for many rows leaves no tree for few, or for rare 1s.
    """
    if truth.dtype == pl.Float64:
        weight, variance = min(20.0, max(1.0, len(truth) / 1000)), 1.0
    else:
        shares = truth.value_counts(normalize=True)["proportion"].to_numpy()
        variance = float(np.sum(shares * (1 - shares))) / 2
        weight = min(20.0, len(truth) * variance / 500)
    rows = max(round(weight / variance), min(20, len(truth) // 20))
    return {
        "min_child_weight": float(f"{weight:.2g}"),
        "min_data_in_leaf": rows,
        "min_samples_leaf": rows,
    }


def measure(
    records: pl.DataFrame, history: int, use_case: UseCase, problem: Problem
) -> tuple[Measures, list[str]]:
    """Split the history as the training does, fit a model, and measure it.

    Args:
        records: What `features.build` returns, in the order of time.
        history: So many of them are history.
        use_case: With what is not measured yet left at its default.
        problem: The kind of problem.

    Returns:
        The numbers for usecase.toml, and what else is worth knowing.

    Raises:
        UseCaseError: When the data cannot be split.
    """
    cleaned = prepare.clean(records, use_case)
    parts = prepare.split(cleaned[:history], use_case)
    leaf_rows = int(leaf(parts["train"][use_case.target.column])["min_samples_leaf"])

    def boosting(train: pl.DataFrame, validation: pl.DataFrame) -> Predict:
        return first_fit.fit(train, validation, use_case, leaf_rows)

    first = fit(parts, use_case, boosting)
    # The second training, on all rows, is to pass too.
    second = fit(prepare.split(cleaned, use_case), use_case, boosting)
    tuned = problem.tuned(*first["validation"])
    entries: dict[str, Any] = {name: value for name, (value, _) in tuned.items()}
    target = replace(use_case.target, **entries)
    gates = [
        gate(fitted["test"], target, problem.METRIC, problem, of)
        for fitted, of in ((first, "of the history"), (second, "of all"))
    ]
    better = direction(problem.METRIC)
    chosen = min(gates, key=lambda found: better * found.threshold)
    known = known_values(parts, use_case)
    window = min(WINDOW, (cleaned.height - history) // 2)
    watched = problem.watched(first["test"][0], WINDOW)
    measures = Measures(
        metric=problem.METRIC,
        threshold=chosen.threshold,
        reached=f"A first fit ({first_fit.NAME}) reached {chosen.words}",
        target=tuned,
        settings={
            "domain_content_threshold": known,
            "metrics": watched,
            "tolerance": tolerance(first["test"], target, watched, window),
            "min_labels": min(ModelQuality().min_labels, window),
        },
    )
    if "data_quality" not in names.MONITORS:
        return measures, chosen.notes
    from adopt import drift  # noqa: PLC0415 - what it imports is only there with that monitor

    least = {"min_predictions": drift.least_predictions(window)}
    measures = replace(measures, settings={**measures.settings, **least})
    return measures, [*chosen.notes, *drift.moving(parts, use_case, known)]


def fit(parts: dict[str, pl.DataFrame], use_case: UseCase, model: Fit) -> dict[str, Measured]:
    """Fit a model.

    Args:
        parts: What `prepare.split` returned.
        use_case: Names the columns.
        model: Fits it.

    Returns:
        Labels and predictions of the validation and the test data.
    """
    samples = {name: spread(part, SAMPLE) for name, part in parts.items()}
    predict = model(samples["train"], samples["validation"])
    measured = {}
    for name in ("validation", "test"):
        output = predict(samples[name].select(use_case.features.names))
        labels = samples[name][use_case.target.column].to_numpy()
        measured[name] = (labels, np.asarray(use_case.target.predicted(output)))
    return measured


@dataclass(frozen=True)
class Gate:
    """The threshold of the gate.

    Attributes:
        threshold: The value that a model must reach.
        words: What the fit reached, and how the threshold was found.
        notes: A warning, when the model knows next to nothing.
    """

    threshold: float
    words: str
    notes: list[str]


def direction(metric: str) -> int:
    """1 where a higher value of a metric is a better one, else -1."""
    return 1 if config.Approval(metric, 0).higher_is_better else -1


def gate(measured: Measured, target: Target, metric: str, problem: Problem, of: str) -> Gate:
    """The threshold of the gate: half way from what a fit reached to knowing nothing.

    Or two standard deviations below the fit, when that is further.

    Args:
        measured: Labels and predictions of the test data.
        target: What is predicted.
        metric: What the gate goes by.
        problem: The kind of problem.
        of: Which data the test data is the newest of, in words.
    """
    labels, predictions = measured
    better = direction(metric)
    deviation = deviations(measured, target, len(labels))[metric]
    reached = metrics.summary(labels, predictions, target)[metric]
    nothing = metrics.summary(labels, problem.no_skill(labels), target)[metric]
    gain = better * (reached - nothing)
    distance, how = gain / 2, f"half way to {nothing:.3g}, which knowing nothing reaches"
    if distance < 2 * deviation:
        distance, how = 2 * deviation, "two standard deviations of it are allowed for"
    scale = 10 ** (2 - math.floor(math.log10(max(abs(reached), 1e-12))))
    rounded = math.floor if better > 0 else math.ceil
    threshold = rounded((reached - better * distance) * scale) / scale
    notes = []
    if gain < 2 * deviation:
        notes.append(
            f"On the newest rows {of} the features tell next to nothing about the target: {metric} "
            f"is {reached:.3g}, and knowing nothing reaches {nothing:.3g}."
        )
    return Gate(threshold, f"{metric} {reached:.3g} on the newest rows {of}; {how}.", notes)


def tolerance(measured: Measured, target: Target, watched: list[str], window: int) -> float:
    """By what share the watched metrics of a window may be worse than the evaluation's.

    The default, or three standard deviations of what chance makes of the difference when that is
    more: the evaluation has its test data only, and a window has few rows.

    Args:
        measured: Labels and predictions of the test data.
        target: What is predicted.
        watched: The metrics.
        window: Rows of a window.
    """
    value = metrics.summary(*measured, target)
    evaluation, later = (deviations(measured, target, rows) for rows in (len(measured[0]), window))
    shares = [
        3 * math.hypot(evaluation[name], later[name]) / abs(value[name])
        for name in watched
        if value[name] and math.isfinite(evaluation[name] + later[name])
    ]
    chance = math.ceil(20 * max(shares, default=0.0)) / 20
    return min(0.95, max(ModelQuality().tolerance, chance))


def deviations(measured: Measured, target: Target, rows: int) -> dict[str, float]:
    """Standard deviations of the metrics, each measured on so many rows of the test data."""
    labels, predictions = measured
    generator = np.random.default_rng(0)
    places = [generator.integers(0, len(labels), rows) for _ in range(DRAWS)]
    drawn = [metrics.summary(labels[some], predictions[some], target) for some in places]
    return {name: float(np.nanstd([each[name] for each in drawn])) for name in drawn[0]}


def known_values(parts: dict[str, pl.DataFrame], use_case: UseCase) -> float:
    """The least fraction of known values that the newest rows of the history keep to."""
    shares = [0.99]
    for name in use_case.features.categorical:
        new = parts["test"][name].drop_nulls()
        if len(new):
            known = float(new.is_in(parts["train"][name].unique().implode()).to_numpy().mean())
            shares.append(math.floor(100 * known - 1) / 100)
    return max(0.0, min(shares))
