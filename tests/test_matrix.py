"""The matrix has every valid combination, and each level has what it says."""

import re
from itertools import combinations, product
from typing import Any

import pytest

from tests import matrix, template

LEVELS = list(matrix.levels())


def up_to(level: str) -> list[matrix.Answers]:
    """The combinations that are tested at a level, those of the levels before it as well."""
    return [one for each in LEVELS[: LEVELS.index(level) + 1] for one in matrix.levels()[each]]


def test_every_valid_combination_is_there_once() -> None:
    sizes = {name: len(options) for name, options in matrix.choices().items()}
    # A batch job starts by one of two, an endpoint by none: 3 of the 4 can be.
    alone = sizes["problem_type"] * sizes["framework"] * sizes["orchestrator"] * sizes["ci"]
    expected = alone * 3 * (2**2 - 1) * 2**3
    assert len(matrix.every()) == expected
    everything = up_to("rest")
    assert len(everything) == expected
    assert len({matrix.name(answers) for answers in everything}) == expected
    assert matrix.name(everything[0]) == "defaults"


def test_every_option_is_in_the_fast_level_and_missing_once() -> None:
    for name, question in matrix.questions().items():
        for option in matrix.offered(question) if name in matrix.choices() else []:
            given = {option in answers[name] for answers in up_to("fast")}
            assert given == {True, False}, f"{name}: {option}"


@pytest.mark.parametrize(("level", "size"), [("pairs", 2), ("triples", 3)])
def test_any_answers_meet_that_can(level: str, size: int) -> None:
    tested = up_to(level)
    for questions in combinations(matrix.meeting(size), size):
        met = [tuple(answers[name] for name in questions) for answers in tested]
        for wanted in product(*(matrix.choices()[name] for name in questions)):
            if can_meet(dict(zip(questions, wanted, strict=True))):
                assert wanted in met, dict(zip(questions, wanted, strict=True))


def can_meet(answers: dict[str, Any]) -> bool:
    """Whether some answers can be given together; an endpoint has no start that is another's."""
    realtime = answers.get("inference_mode") == "realtime"
    return not (realtime and answers.get("batch_start") == "schedule")


def test_few_combinations_bring_all_triples() -> None:
    # Of any three questions, those with the most options ask for this many at least.
    sizes = sorted(len(matrix.choices()[name]) for name in matrix.meeting(3))
    assert sizes[-3] * sizes[-2] * sizes[-1] <= len(up_to("triples")) < len(matrix.every()) / 4


def test_numbers_in_the_documentation_are_those_of_the_matrix() -> None:
    text = (template.ROOT / "docs" / "testing.md").read_text()
    numbers = [len(matrix.every()), *(len(up_to(level)) for level in LEVELS)]
    told = {int(number) for number in re.findall(r"\*\*(\d+)\*\*", text)}
    assert told == set(numbers)
