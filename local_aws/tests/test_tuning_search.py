"""What a tuning job tries, and which training jobs it stops early."""

from __future__ import annotations

import pytest

from local_aws.sagemaker.tuning import search, stopping


def test_the_same_seed_gives_the_same_search() -> None:
    ranges = {
        "IntegerParameterRanges": [
            {"Name": "i", "MinValue": "1", "MaxValue": "1000", "ScalingType": "Logarithmic"}
        ],
        "ContinuousParameterRanges": [
            {"Name": "log", "MinValue": "1e-6", "MaxValue": "1", "ScalingType": "Logarithmic"},
            {
                "Name": "reverse",
                "MinValue": "0",
                "MaxValue": "0.9999",
                "ScalingType": "ReverseLogarithmic",
            },
            {"Name": "linear", "MinValue": "-5", "MaxValue": "5"},
        ],
        "CategoricalParameterRanges": [{"Name": "c", "Values": ["a", "b"]}],
    }
    search.check(ranges, "Random")
    found = [search.sample(ranges, 7, index) for index in range(2000)]
    assert found == [search.sample(ranges, 7, index) for index in range(2000)]
    assert found != [search.sample(ranges, 8, index) for index in range(2000)]

    def below(name: str, limit: float) -> float:
        return sum(float(one[name]) < limit for one in found) / len(found)

    # Half of each range as its scale has it.
    assert below("log", 1e-3) == pytest.approx(0.5, abs=0.05)
    assert below("reverse", 0.99) == pytest.approx(0.5, abs=0.05)
    assert below("linear", 0) == pytest.approx(0.5, abs=0.05)
    assert below("i", 32) == pytest.approx(0.5, abs=0.05)
    assert {one["c"] for one in found} == {"a", "b"}
    assert {int(one["i"]) for one in found} <= set(range(1, 1001))


@pytest.mark.parametrize(
    ("values", "others", "stopped"),
    [
        ([0.5], [], False),
        ([], [[0.5]], False),
        ([0.5, 0.5], [[0.2, 0.4, 0.9], [0.6, 0.8]], False),  # medians of averages: 0.3, 0.7
        ([0.5, 0.49], [[0.2, 0.4, 0.9], [0.6, 0.8]], True),
    ],
)
def test_the_median_of_running_averages(
    values: list[float], others: list[list[float]], stopped: bool
) -> None:
    assert stopping.worse_than_median(values, others, maximize=True) == stopped
    lower = [[-value for value in other] for other in others]
    negative = [-value for value in values]
    assert stopping.worse_than_median(negative, lower, maximize=False) == stopped


def test_rungs() -> None:
    others = [[float(n)] * 9 for n in range(8)]
    limits = (1, 81)
    assert [stopping.below_rung([float(n)], others, True, limits) for n in range(9)] == [
        *[True] * 5,
        *[False] * 4,
    ]
    assert stopping.below_rung([9.0] * 81, [], True, limits)
    assert not stopping.below_rung([9.0] * 80, [], True, limits)
    # Asked before at its last rung, it goes on until the next one.
    assert not stopping.below_rung([0.0] * 8, others, True, limits, seen=3)
    assert stopping.below_rung([0.0] * 9, others, True, limits, seen=3)
