"""How many odd values chance may bring: of a kind that the baseline does not have, or hardly.

The tests are exact for rows of one distribution, whichever it is. That n rows have no odd one does
not mean that there are none: by the rule of three (Hanley and Lippman-Hand 1983) up to 3 / n of all
may be odd.
"""

from math import exp, lgamma, log

#: What is less likely than this is no chance: there are many features, and a run every day.
UNLIKELY = 1e-5
#: The baseline hardly has a value that makes up less of it than this.
HARDLY = 0.001
#: A value that comes fewer times than this is not a sentinel.
LEAST = 5


def beyond(odd: int, rows: int, before: int) -> bool:
    """Whether so many rows beyond one end of the baseline are more than chance.

    Args:
        odd: Rows beyond it, for example the negative ones where there was none.
        rows: Rows that are judged.
        before: Rows of the baseline.
    """
    return odd > 0 and all_new(odd, rows, before) < UNLIKELY


def outside(odd: int, rows: int, before: int) -> bool:
    """Whether so many rows beyond either end of the baseline are more than chance.

    Args:
        odd: Rows beyond the one end or the other.
        rows: Rows that are judged.
        before: Rows of the baseline.
    """
    # Any number of them, from none to all, might have been beyond the lower end.
    return odd > 0 and all_new(odd, rows, before, log(odd + 1)) < UNLIKELY


def frequent(odd: int, rows: int, earlier: int, before: int) -> bool:
    """Whether it is more than chance that one value is so frequent.

    Args:
        odd: Rows that have it.
        rows: Rows that are judged.
        earlier: Rows of the baseline that have it.
        before: Rows of the baseline.
    """
    if odd < LEAST:
        return False
    # Any of those that have it might be the new ones, and so many values can be so frequent.
    chosen = lgamma(odd + earlier + 1) - lgamma(odd + 1) - lgamma(earlier + 1)
    return all_new(odd, rows, before, chosen + log(rows / odd)) < UNLIKELY


def all_new(odd: int, rows: int, before: int, ways: float = 0.0) -> float:
    """How likely some of all rows, old and new, are new ones, all of them.

    That is C(rows, odd) / C(rows + before, odd).

    Args:
        odd: How many they are.
        rows: The new rows.
        before: The old ones.
        ways: Logarithm of how many such choices there are: an upper bound for any of them.
    """
    total = rows + before
    logarithm = (
        lgamma(rows + 1) - lgamma(rows - odd + 1) - lgamma(total + 1) + lgamma(total - odd + 1)
    )
    return exp(min(0.0, logarithm + ways))
