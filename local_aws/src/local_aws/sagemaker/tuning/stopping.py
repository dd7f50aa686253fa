"""When a tuning job stops a training job early: it does worse than others did at the same epoch.

An epoch is one appearance of the objective metric in the training job's output.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

_REDUCTION = 3
"""One training job of so many goes on at each rung of Hyperband."""


def worse_than_median(
    values: Sequence[float], others: Sequence[Sequence[float]], maximize: bool
) -> bool:
    """Tell whether TrainingJobEarlyStoppingType `Auto` stops a training job.

    The rule is that of "How Early Stopping Works" in "Stop Training Jobs Early"
    (https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-early-stopping.html):
    the last value against the median of the others' running averages up to the same epoch.

    Args:
        values: The objective metric after each epoch of the training job.
        others: The same of the training jobs before it that have completed.
        maximize: Whether greater is better.
    """
    if not values or not any(others):
        return False
    averages = [fmean(other[: len(values)]) for other in others if other]
    middle = median(averages)
    return values[-1] < middle if maximize else values[-1] > middle


def below_rung(
    values: Sequence[float],
    others: Sequence[Sequence[float]],
    maximize: bool,
    resources: tuple[int, int],
    seen: int = 0,
) -> bool:
    """Tell whether Hyperband stops a training job.

    AWS does not publish its rule. This one is asynchronous successive halving (Li et al., "A System
    for Massively Parallel Hyperparameter Tuning", MLSys 2020), as a rule for stopping: when it
    comes to a rung, which is MinResource times 1, 3, 9 … epochs, a training job goes on if its best
    value so far is in the best third of all that have come there.

    Args:
        values: The objective metric after each epoch of the training job.
        others: The same of all other training jobs, whether they have ended or not.
        maximize: Whether greater is better.
        resources: MinResource and MaxResource, in epochs.
        seen: Epochs after which this was asked before.
    """
    least, most = resources
    if len(values) >= most:
        return True
    best = max if maximize else min
    rung = least
    while rung <= len(values):
        mine = best(values[:rung])
        there = [best(other[:rung]) for other in others if len(other) >= rung]
        ahead = sum(value > mine if maximize else value < mine for value in there)
        if rung > seen and ahead >= max(1, (len(there) + 1) // _REDUCTION):
            return True
        rung *= _REDUCTION
    return False
