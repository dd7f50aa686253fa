"""The combinations of answers can be given, and each level has what it says."""

import re
from itertools import combinations, product

import pytest

from tests import matrix, template

LEVELS = list(matrix.levels())


def up_to(level: str) -> list[matrix.Answers]:
    """The combinations that are tested at a level, those of the levels before it as well."""
    return [one for each in LEVELS[: LEVELS.index(level) + 1] for one in matrix.levels()[each]]


def test_every_combination_can_be_given_and_is_there_once() -> None:
    everything = up_to("chance")
    assert all(can_meet(matrix.row_of(answers)) for answers in everything)
    assert all(matrix.possible(answers) for answers in map(choices, everything))
    assert len({matrix.name(answers) for answers in everything}) == len(everything)
    assert matrix.name(everything[0]) == "defaults"


def choices(answers: matrix.Answers) -> matrix.Answers:
    """The answers to the questions that bring files."""
    return {name: answers[name] for name in matrix.choices()}


def test_every_option_is_in_the_fast_level_and_missing_once() -> None:
    for name, question in matrix.questions().items():
        for option in matrix.offered(question) if name in matrix.choices() else []:
            given = {option in answers[name] for answers in up_to("fast")}
            expected = {False} if (name, option) in matrix.ALIKE else {True, False}
            assert given == expected, f"{name}: {option}"


@pytest.mark.parametrize(("level", "size"), [("pairs", 2), ("triples", 3)])
def test_any_options_meet_that_can(level: str, size: int) -> None:
    tested = [matrix.row_of(answers) for answers in up_to(level)]
    for factors in combinations(matrix.meeting(size), size):
        met = {tuple(row[factor] for factor in factors) for row in tested}
        for wanted in product(*(matrix.factors()[factor] for factor in factors)):
            together = dict(zip(factors, wanted, strict=True))
            assert (wanted in met) == can_meet(together), together


def can_meet(row: matrix.Row) -> bool:
    """Whether some options can be chosen together, by the rules of the questions' own texts."""
    scheduled = row.get(("batch_start", None)) == "schedule"
    if scheduled and row.get(("inference_mode", None), "batch") != "batch":
        return False
    has_api = row.get(("public_api", None), "none") != "none"
    mode = row.get(("inference_mode", None), "batch" if scheduled else "realtime")
    if has_api and mode not in ("realtime", "serverless"):
        return False
    explained = row.get(("explain", None)) == "contributions"
    if explained and (scheduled or row.get(("inference_mode", None)) == "batch"):
        return False
    monitors = [factor for factor in matrix.factors() if factor[0] == "monitors"]
    return any(row.get(monitor, True) for monitor in monitors)


def test_few_combinations_bring_all_triples() -> None:
    # Of any three factors, those with the most values ask for this many at least.
    sizes = sorted(len(matrix.factors()[factor]) for factor in matrix.meeting(3))
    least = sizes[-3] * sizes[-2] * sizes[-1]
    assert least <= len(up_to("triples")) < 4 * least


def test_another_day_has_others() -> None:
    days = [matrix.by_chance(100, f"2026-11-{day}") for day in (28, 28, 29)]
    assert days[0] == days[1]
    assert len([answers for answers in days[2] if answers not in days[0]]) > 50


def test_numbers_in_the_documentation_are_those_of_the_matrix() -> None:
    text = (template.ROOT / "docs" / "testing.md").read_text()
    numbers = [len(up_to(level)) for level in LEVELS[:-1]]
    told = [int(number) for number in re.findall(r"\*\*(\d+)\*\*", text)]
    assert told == numbers
