"""What each feature adds to the scores of any model: SHAP values, by KernelSHAP.

Lundberg and Lee 2017, A Unified Approach to Interpreting Model Predictions, theorem 2. A feature
that is not in a coalition has the values of a background. The package shap has this too: it would
add 240 MB to the image, most of it LLVM, and five seconds to each start.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import comb

import numpy as np
import numpy.typing as npt
import polars as pl

Values = npt.NDArray[np.float64]

#: The rows of the background: each is predicted with each coalition.
BACKGROUND_ROWS = 10
#: Where there are no more coalitions, all are looked at; else so many are drawn, at least.
COALITIONS = 128
#: So many rows are predicted together, which bounds the memory.
AT_ONCE = 200_000


def background(train: pl.DataFrame) -> Mapping[str, Sequence[float | str | None]]:
    """Rows that stand for what is not known, drawn with a fixed seed.

    Args:
        train: The features of the training data.
    """
    return train.sample(min(BACKGROUND_ROWS, train.height), seed=0).to_dict(as_series=False)


def contributions(
    score: Callable[[pl.DataFrame], Values], rows: pl.DataFrame, base: pl.DataFrame
) -> Values:
    """What each feature adds to the scores of rows, compared with the background.

    They always sum to the score. They are exact where all coalitions are looked at, and, whatever
    was drawn, for a score that is a sum over single features, such as that of a linear model.

    Args:
        score: The scores of rows, shape (rows,) or (rows, classes).
        rows: The features.
        base: Those of the background.

    Returns:
        Shape (rows, features + 1) or (rows, classes, features + 1): the last one is the base value,
        the mean score of the background.
    """
    expected = score(base).mean(axis=0)
    gains = score(rows) - expected
    if rows.width == 1:  # there is no coalition but the empty one and the whole
        return np.stack([gains, np.broadcast_to(expected, gains.shape)], axis=-1)
    members, weights = coalitions(rows.width)
    together = max(1, AT_ONCE // (len(members) * base.height))
    starts = range(0, rows.height, together)
    parts = [worth(score, rows[start : start + together], base, members) for start in starts]
    values = solve(members, weights, np.concatenate(parts) - expected, gains)
    return np.concatenate([values, np.broadcast_to(expected, gains.shape)[..., None]], axis=-1)


def coalitions(features: int) -> tuple[npt.NDArray[np.bool_], Values]:
    """The sets of features that are looked at, without the empty one and the whole.

    Returns:
        The members of each, shape (coalitions, features), and its weight, shape (coalitions,).
    """
    if 2**features - 2 <= COALITIONS:
        every = np.array([*product([False, True], repeat=features)])[1:-1]
        sizes = every.sum(axis=1)
        ways = np.array([comb(features, size) for size in range(features + 1)])
        return every, (features - 1) / (ways[sizes] * sizes * (features - sizes))
    # As often as the weights say, each together with its complement, which halves the variance
    # (Covert and Lee 2021, Improving KernelSHAP, section 4.2).
    generator = np.random.default_rng(0)
    sizes = np.arange(1, features)
    likely = 1 / (sizes * (features - sizes))
    drawn = generator.choice(sizes, size=max(COALITIONS // 2, 2 * features), p=likely / sum(likely))
    ranks = generator.permuted(np.tile(np.arange(features), (len(drawn), 1)), axis=1)
    half = ranks < drawn[:, None]
    return np.concatenate([half, ~half]), np.ones(2 * len(drawn))


def worth(
    score: Callable[[pl.DataFrame], Values],
    rows: pl.DataFrame,
    base: pl.DataFrame,
    members: npt.NDArray[np.bool_],
) -> Values:
    """The mean score of each row with what is known of it in each coalition alone.

    Returns:
        Shape (rows, coalitions) or (rows, coalitions, classes).
    """
    shape = (rows.height, len(members), base.height)
    known = np.arange(rows.height)[:, None, None]
    unknown = rows.height + np.arange(base.height)
    mixed = {}
    for place, name in enumerate(rows.columns):
        chosen = np.where(members[:, place, None], known, unknown)
        mixed[name] = pl.concat([rows[name], base[name]])[chosen.ravel()]
    scores = score(pl.DataFrame(mixed))
    return np.asarray(scores.reshape(*shape, *scores.shape[1:]).mean(axis=2))


def solve(members: npt.NDArray[np.bool_], weights: Values, worth: Values, gains: Values) -> Values:
    """The contributions that tell best what coalitions are worth, by weighted least squares.

    Args:
        members: What `coalitions` returned.
        weights: Its weights.
        worth: What each coalition adds to the base value, shape (rows, coalitions, …).
        gains: What all features together add, which the contributions sum to, shape (rows, …).

    Returns:
        Shape (rows, …, features).
    """
    weighted = members.T * weights
    inverse = np.linalg.pinv(weighted @ members)
    free = np.moveaxis(worth, 1, -1) @ (inverse @ weighted).T
    ones = inverse.sum(axis=1)
    return np.asarray(free + ones * ((gains - free.sum(axis=-1)) / ones.sum())[..., None])
