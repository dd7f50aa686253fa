"""How much is tested when. pyproject.toml has the markers, the Makefile a command for each level.

- `make test-fast`, below half a minute: tests without a marker, and the combinations of answers
  that have every option once and once not. What developers run after each change.
- `make test`: `wide`, too: all pairs and triples of answers, updates, Cookiecutter's door; and
  `slow`: projects that are installed and live. What has to pass before a change lands.
- `make test-all`: `exhaustive`, too: another hundred combinations of answers each day, updates from
  every commit, orchestrators and modes in every scenario. What has to pass before a release.
"""

import pytest

from tests import matrix

MARKS = {
    "fast": [],
    "pairs": [pytest.mark.wide],
    "triples": [pytest.mark.wide],
    "chance": [pytest.mark.exhaustive],
}

#: Gives a test the answers of each combination, each from its level on.
every_combination = pytest.mark.parametrize(
    "answers",
    [
        pytest.param(answers, id=matrix.name(answers), marks=MARKS[level])
        for level, found in matrix.levels().items()
        for answers in found
    ],
)
