"""`poe adopt` takes over data sets nobody has seen, and the model lives on them."""

import csv
import math
import os
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests import conftest, life, matrix, template, test_existing
from tests.conftest import Render

pytestmark = pytest.mark.slow
Row = dict[str, object]
FARTHEST: matrix.Answers = {"orchestrator": "step_functions", "inference_mode": "batch"}


def returns() -> Iterator[Row]:
    """Which orders come back: text labels, '?', non-ASCII names, and in the end other customers."""
    numbers = random.Random(1)  # noqa: S311 - made-up data
    for place in range(4000):
        age = numbers.gauss(50 if place >= 3400 else 40, 8)
        price, channel = numbers.lognormvariate(3, 1), numbers.choice(["web", "店舗", "app, old"])
        odds = (age - 40) / 8 + 2 * (channel == "web") - 1
        returned = numbers.random() < 1 / (1 + math.exp(-odds))
        yield {
            "order id": f"{place * 7919 % 4000:05}",
            "ordered at": f"{datetime(2025, 1, 1) + timedelta(hours=2 * place):%d.%m.%Y %H:%M}",  # noqa: DTZ001
            "年齢": "?" if place % 30 == 0 else f"{age:.1f}",
            "price (¥)": f"{price:.2f}",
            "channel": channel,
            "shop": "Tokyo",
            "refund": f"{price:.2f}" if returned else "0",
            "returned?": "yes" if returned else "no",
        }


def flowers() -> Iterator[Row]:
    """Three kinds, sorted, without time and without id."""
    numbers = random.Random(2)  # noqa: S311 - made-up data
    for kind, (length, width) in {"a": (1.5, 0.3), "b, c": (4.3, 1.3), "d": (5.5, 2)}.items():
        for _ in range(60):
            petals = {"length": numbers.gauss(length, 0.5), "width": numbers.gauss(width, 0.3)}
            yield {**{name: f"{size:.1f}" for name, size in petals.items()}, "species": kind}


def wide() -> Iterator[Row]:
    """200 columns, of which three count and one is constant."""
    numbers = random.Random(3)  # noqa: S311 - made-up data
    for _ in range(1500):
        values = [numbers.gauss(0, 1) for _ in range(200)]
        target = 30 * values[0] - 20 * values[1] + 10 * values[2] ** 2 + numbers.gauss(0, 5)
        columns: Row = {f"column {place}": f"{v:.3f}" for place, v in enumerate(values)}
        yield {**columns, "column 17": "7", "target": f"{target:.2f}"}


def write(rows: Iterator[Row], file: Path) -> None:
    """Write rows as CSV with a header."""
    found = list(rows)
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, list(found[0]))
        writer.writeheader()
        writer.writerows(found)


def lived(
    folder: Path,
    rows: Iterator[Row],
    arguments: list[str],
    tests: str = "tests",
    then: Callable[[Path], None] = lambda _: None,
) -> life.Life:
    """The life of a project on a data set, with what an owner does then; ends the local AWS.

    Its tests, or those of `tests`, pass before.
    """
    file = folder.parent / "brought.csv"
    write(rows, file)
    model = folder / "src" / "usecase" / "model.py"
    of_the_template = model.read_text()
    model.write_text("raise ImportError('the owner is still writing it')\n")
    template.run(["uv", "run", "poe", "adopt", file, *arguments], folder)
    model.write_text(of_the_template)
    assert not (folder / "tests" / "test_sample.py").exists()
    then(folder)
    template.run(["uv", "run", "poe", "check"], folder)
    # The data is not needed for that: in continuous integration it is not there.
    (folder / "data").rename(folder / "elsewhere")
    assert "skipped" not in template.run(["uv", "run", "poe", "test", tests], folder)
    (folder / "elsewhere").rename(folder / "data")
    try:
        return life.live(folder)
    finally:
        life.end(folder)


def test_proof_of_concept_lives_in_a_folder_of_its_repository(
    repository: Path, tmp_path: Path
) -> None:
    """On two tables, its features in pandas and its pipeline; drift starts the retraining."""
    folder = test_existing.proof_of_concept(tmp_path / "poc")
    (lines,) = test_existing.commands("A folder of its own")
    answered = lines.replace("copier copy", "copier copy --data framework=scikit_learn")
    assert test_existing.follow(answered, repository, folder).returncode == 0
    project = folder / "ml"
    template.install(project)
    channels = tmp_path / "channels.csv"
    channels.write_text('name,fee\nweb,1.5\n店舗,0.5\n"app, old",2.25\n', encoding="utf-8")
    arguments = ["--target", "returned?", "--time", "ordered at", "--id", "order id"]
    arguments += ["--join", f"{channels}:channel=name"]
    result = lived(
        project, returns(), arguments, "tests/test_contract.py", test_existing.migrate
    ).result
    assert "fee" in (project / "usecase.toml").read_text()
    first, second = result["model_versions"]
    assert 0.6 < first["metrics"]["auc"] < 0.9  # the refund, which gives it away, is not there
    assert second["trigger"] == result["retraining"]["started_by"] == "drift"
    assert result["serving_version"] == 2
    assert result["predictions"] >= 2 * 600
    assert result["failed_predictions"] == 0
    assert "年齢" in {v["feature"] for v in result["monitors"]["data_quality"]["violations"]}


@pytest.mark.parametrize(
    ("tool", "answers"),
    [
        # Its tests take minutes in the projects of the other problems.
        pytest.param(
            tool,
            answers,
            id=f"{tool}-{matrix.name(answers)}",
            marks=[pytest.mark.exhaustive] if tool == "pytest" and number else [],
        )
        for tool in ("mypy", "pytest")
        for number, answers in enumerate(matrix.PROBLEMS)
    ],
)
def test_tool_in_a_project_of_each_problem(
    environment: Callable[[Path], Path], rendered: Render, answers: matrix.Answers, tool: str
) -> None:
    folder = rendered(answers)
    programs = environment(folder)
    adopt = template.ROOT / "adopt"
    settings = adopt / "pyproject.toml"
    install: list[str | Path] = ["uv", "pip", "install", "--quiet", "--requirements", settings]
    template.run([*install, "--python", programs / "python"], folder)
    paths = (adopt / "src", adopt / "tests", folder / "src", folder, folder / "tests")
    own = {
        "MYPY_CACHE_DIR": str(folder.parent / "adopt_mypy_cache"),
        "OMP_WAIT_POLICY": "PASSIVE",  # as commands of the image set it
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(map(str, paths)),
    }
    others = "|".join({one["problem_type"] for one in matrix.PROBLEMS} - {answers["problem_type"]})
    # What does not depend on the kind of problem is tried with one.
    once = ("joins", "pairs", "table") if answers != matrix.PROBLEMS[0] else ()
    ignored = [f"--ignore={adopt}/tests/test_{name}.py" for name in once]
    given: dict[str, list[str | Path]] = {
        "mypy": ["--config-file", settings, f"--exclude=({others})", adopt / "src"],
        "pytest": ["-p", "no:cacheprovider", "-c", settings, *ignored],
    }
    template.run([programs / tool, *given[tool], adopt / "tests"], folder, own)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("rows", "target", "answers"),
    [
        (flowers, "species", {"problem_type": "multiclass_classification"}),
        (wide, "target", {"problem_type": "regression", **FARTHEST}),
    ],
)
def test_life_without_drift(
    repository: Path,
    tmp_path: Path,
    rows: Callable[[], Iterator[Row]],
    target: str,
    answers: matrix.Answers,
) -> None:
    project = conftest.make_project(repository, tmp_path / "project", answers)
    result = lived(project, rows(), ["--target", target]).result
    assert result["serving_version"] == 2
    assert result["retraining"]["started_by"] == "manual"
    assert result["failed_predictions"] == 0
    assert not any(monitor["violations"] for monitor in result["monitors"].values())
