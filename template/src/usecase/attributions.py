"""Which features decide: what the contributions to many predictions come to.

`describe` writes analysis.json, laid out as Clarify's, of the test data; the monitor compares a
window with it.
https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-processing-job-analysis-results.html
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from usecase import container
from usecase.config import UseCase
from usecase.contributions import Values, contributions, labels
from usecase.model import Model

NAME = "analysis.json"

#: So many times `sample_rows` are explained for the baseline.
TIMES = 2
#: Stretches of time with fewer rows tell nothing, nor do fewer stretches.
LEAST_ROWS, LEAST_BLOCKS = 15, 4


def analysis(values: Values, table: pl.DataFrame, use_case: UseCase) -> dict[str, Any]:
    """What the contributions of many rows come to.

    Args:
        values: What `contributions` returned.
        table: The features of these rows.
        use_case: Names features and classes.

    Returns:
        Clarify's analysis.json. The name `kernel_shap` is where its readers look, whatever
        algorithm the model uses; the global value of a feature is its mean absolute contribution.
        In `extensions`, of each label and feature: `spread`, the interquartile range of the
        contributions; `direction`, the correlation of a number and its contribution, absent where
        there is none.
    """
    names = use_case.features.names
    explained, extensions = {}, {}
    for place, label in enumerate(labels(use_case)):
        parts = values[:, place, :-1]
        explained[label] = {
            "global_shap_values": by_name(names, np.abs(parts).mean(axis=0)),
            "expected_value": float(values[:, place, -1].mean()),
        }
        extensions[label] = {
            "spread": by_name(names, spread(parts)),
            "direction": {
                name: found
                for name, part in zip(names, parts.T, strict=True)
                if (found := correlation(table[name], part)) is not None
            },
        }
    return {
        "version": "1.0",
        "explanations": {"kernel_shap": explained},
        "extensions": {"rows": len(values), "labels": extensions},
    }


def by_name(names: Sequence[str], values: Values) -> dict[str, float]:
    """The value of each feature."""
    return dict(zip(names, values.tolist(), strict=True))


def spread(parts: Values) -> Values:
    """The interquartile range of the contributions of each feature, shape (features,)."""
    low, high = np.quantile(parts, [0.25, 0.75], axis=0)
    return np.asarray(high - low)


def correlation(values: pl.Series, parts: Values) -> float | None:
    """The correlation of a feature and its contributions; `None` where there is none."""
    if values.dtype == pl.String:
        return None
    known = values.is_not_null().to_numpy()
    pairs = values.drop_nulls().cast(pl.Float64).to_numpy(), parts[known]
    if known.sum() < LEAST_ROWS or min(np.ptp(pairs[0]), np.ptp(pairs[1])) == 0:
        return None
    return float(np.corrcoef(*pairs)[0, 1])


def sample(table: pl.DataFrame, rows: int) -> pl.DataFrame:
    """So many rows of a table, or all, in their order, drawn with a fixed seed."""
    if table.height <= rows:
        return table
    places = np.random.default_rng(0).choice(table.height, size=rows, replace=False)
    return table[np.sort(places)]


def describe(model: Model, test: pl.DataFrame, use_case: UseCase, folder: Path) -> None:
    """Write analysis.json of the test data, as the baseline of the monitor.

    Args:
        model: The model.
        test: What `prepare` wrote.
        use_case: The use case.
        folder: Where to.

    Raises:
        UseCaseError: When the model cannot tell what its features contribute.
    """
    settings = use_case.monitors.feature_attribution
    rows = sample(test, TIMES * settings.sample_rows)
    table = rows.select(use_case.features.names)
    values = contributions(model, table.to_dict(), use_case)
    document = analysis(values, table, use_case)
    seconds = rows[use_case.data.time].cast(pl.Datetime("us")).dt.epoch("s").to_numpy()
    blocks = (seconds - seconds.min()) // (settings.window_hours * 3600)
    document["extensions"]["noise"] = {
        "window_hours": settings.window_hours,
        "labels": noise(values, blocks, use_case),
    }
    container.write_json(folder / NAME, document)


def noise(
    values: Values, blocks: npt.NDArray[np.int64], use_case: UseCase
) -> Mapping[str, Mapping[str, Any]]:
    """How far stretches of the test data, each as long as a window, are from all of it.

    Args:
        values: The contributions.
        blocks: The number of the stretch of each row, shape (rows,).
        use_case: Names features and classes.

    Returns:
        Of each label the lowest `ndcg` of a stretch, and of each feature the least `spread` as a
        fraction of that of all; nothing where there are too few stretches.
    """
    numbers, sizes = np.unique(blocks, return_counts=True)
    chosen = numbers[sizes >= LEAST_ROWS]
    if len(chosen) < LEAST_BLOCKS:
        return {}
    names, found = use_case.features.names, {}
    for place, label in enumerate(labels(use_case)):
        parts = values[:, place, :-1]
        every, whole = np.abs(parts).mean(axis=0), spread(parts)
        each = [parts[blocks == number] for number in chosen]
        scores = ndcg(every, np.array([np.abs(block).mean(axis=0) for block in each]))
        spreads = np.array([spread(block) for block in each]).min(axis=0)
        least = np.divide(spreads, whole, out=np.ones(len(names)), where=whole > 0)
        found[label] = {"ndcg": float(scores.min()), "spread": by_name(names, least)}
    return found


def ndcg(baseline: Values, others: Values) -> Values:
    """How well the order of features by their global value agrees with that of the baseline.

    The normalised discounted cumulative gain, whose gains are the global values of the baseline: 1
    where the order is the same. Features that are even share their places, as in the function
    ndcg_score that Clarify refers to.
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-model-attribution-drift-violations.html

    Args:
        baseline: The global value of each feature, shape (features,).
        others: Those to compare, shape (…, features).

    Returns:
        Shape (…,).
    """
    discounts = 1 / np.log2(np.arange(len(baseline)) + 2)
    ideal = np.sort(baseline)[::-1] @ discounts
    before = np.concatenate([[0.0], np.cumsum(discounts)])
    above = (others[..., None, :] > others[..., :, None]).sum(axis=-1)
    even = (others[..., None, :] == others[..., :, None]).sum(axis=-1)
    gains = (before[above + even] - before[above]) / even @ baseline
    return np.asarray(gains / ideal if ideal else np.ones_like(gains))
