"""Which hyperparameters a tuning job tries: its ranges, at random or one after the other.

What is chosen for a training job depends on the seed and the job's number alone, so that a tuning
job goes on as it would have when it is taken up again.

Scales: "Hyperparameter scaling" in "Define Hyperparameter Ranges"
(https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-define-ranges.html).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from typing import Any

from local_aws.sagemaker.core.protocol import ApiError

NUMERIC = ("IntegerParameterRanges", "ContinuousParameterRanges")
CATEGORICAL = "CategoricalParameterRanges"


def check(ranges: Mapping[str, Any], strategy: str) -> None:
    """Refuse ranges in which nothing can be searched.

    Args:
        ranges: A ParameterRanges structure.
        strategy: The tuning job's strategy.

    Raises:
        ApiError: It names the hyperparameter (ValidationException).
    """
    every = [item for kind in (*NUMERIC, CATEGORICAL) for item in ranges.get(kind, [])]
    names = [item["Name"] for item in every]
    if ranges.get("AutoParameters"):
        raise _refused("the local AWS has no AutoParameters; give ranges")
    if not names:
        raise _refused("ParameterRanges must have at least one hyperparameter")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _refused(f"hyperparameters are in more than one range: {twice}")
    if strategy == "Grid" and any(ranges.get(kind) for kind in NUMERIC):
        raise _refused("Grid search takes CategoricalParameterRanges only")
    for kind in NUMERIC:
        for item in ranges.get(kind, []):
            _check_numeric(kind, item)


def combinations(ranges: Mapping[str, Any]) -> int:
    """Return how many combinations a grid search tries."""
    return math.prod(len(item["Values"]) for item in ranges.get(CATEGORICAL, []))


def grid(ranges: Mapping[str, Any], index: int) -> dict[str, str]:
    """Return the combination of a grid search with a number, counted from 0."""
    items = ranges.get(CATEGORICAL, [])
    values = next(itertools.islice(itertools.product(*(i["Values"] for i in items)), index, None))
    return {item["Name"]: value for item, value in zip(items, values, strict=True)}


def sample(ranges: Mapping[str, Any], seed: int, index: int) -> dict[str, str]:
    """Return hyperparameters chosen at random for the training job with a number."""
    source = random.Random(f"{seed}:{index}")  # noqa: S311 - no secret is made of it
    chosen = {}
    for item in ranges.get("IntegerParameterRanges", []):
        chosen[item["Name"]] = str(_integer(source, item))
    for item in ranges.get("ContinuousParameterRanges", []):
        chosen[item["Name"]] = repr(_continuous(source, item))
    for item in ranges.get(CATEGORICAL, []):
        chosen[item["Name"]] = source.choice(item["Values"])
    return chosen


def _integer(source: random.Random, item: Mapping[str, str]) -> int:
    low, high = int(item["MinValue"]), int(item["MaxValue"])
    if item.get("ScalingType") == "Logarithmic":
        # Each integer stands for the interval up to the next one.
        return min(high, math.floor(math.exp(source.uniform(math.log(low), math.log(high + 1)))))
    return source.randint(low, high)


def _continuous(source: random.Random, item: Mapping[str, str]) -> float:
    low, high = float(item["MinValue"]), float(item["MaxValue"])
    scale = item.get("ScalingType")
    if scale == "Logarithmic":
        value = math.exp(source.uniform(math.log(low), math.log(high)))
    elif scale == "ReverseLogarithmic":
        value = 1 - math.exp(source.uniform(math.log(1 - high), math.log(1 - low)))
    else:
        value = source.uniform(low, high)
    return min(max(value, low), high)


def _check_numeric(kind: str, item: Mapping[str, str]) -> None:
    name, scale = item["Name"], item.get("ScalingType")
    read = int if kind == "IntegerParameterRanges" else float
    try:
        low, high = read(item["MinValue"]), read(item["MaxValue"])
    except ValueError:
        raise _refused(f"hyperparameter {name!r}: MinValue and MaxValue must be numbers") from None
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise _refused(f"hyperparameter {name!r}: MinValue must not be greater than MaxValue")
    if scale == "Logarithmic" and low <= 0:
        raise _refused(f"hyperparameter {name!r}: Logarithmic is for values greater than 0")
    if scale == "ReverseLogarithmic" and (read is int or low < 0 or high >= 1):
        raise _refused(
            f"hyperparameter {name!r}: ReverseLogarithmic is for continuous ranges within "
            "0 <= x < 1.0"
        )


def _refused(text: str) -> ApiError:
    return ApiError("ValidationException", text)
