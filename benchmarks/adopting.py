"""From a proof of concept to an endpoint that answers: how long it takes, and what is edited.

One proof of concept for each framework: its data is adopted, its model takes the place of the
project's, the checks and tests pass, and it is served.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import timing
from tests import conftest, life, template, test_adopt, test_existing, test_model
from tests.test_adopt import Row

#: The stages of `poe local` after which the endpoint answers.
SERVED = ("start", "deploy", "data", "train", "approve")


#: What LightGBM is asked to fit, in model.py.
LINEAR = """\
            "objective": "regression",
            "linear_tree": True,
"""


def linear_trees(project: Path) -> None:
    """Let the leaves of LightGBM's trees be lines."""
    model = project / "src/usecase/model.py"
    test_existing.replace(model, r'(?m)^( +)"objective": .*\n', LINEAR)
    hyperparameters = "[training.hyperparameters]\nnum_boost_round = 200\nlearning_rate = 0.05\n"
    section = test_model.SECTION.pattern
    test_existing.replace(project / "usecase.toml", section, hyperparameters)


@dataclass(frozen=True)
class Poc:
    """A proof of concept.

    Attributes:
        about: Its data and its model, in a few words.
        rows: Its data.
        adopt: What `poe adopt` is told about it.
        bring: Brings its model, and what of its features is not in the data.
        answers: Of the project, besides the framework.
    """

    about: str
    rows: Callable[[], Iterator[Row]]
    adopt: tuple[str, ...]
    bring: Callable[[Path], object]
    answers: Mapping[str, object]


RETURNS = ("--target", "returned?", "--time", "ordered at", "--id", "order id")
POCS = {
    "xgboost": Poc(
        "which orders come back, 4,000 rows; statsmodels, as docs/model.md has it",
        test_adopt.returns,
        RETURNS,
        test_model.follow,
        {},
    ),
    "lightgbm": Poc(
        "a number of 200 columns, 1,500 rows; trees with linear leaves",
        test_adopt.wide,
        ("--target", "target"),
        linear_trees,
        {"problem_type": "regression"},
    ),
    "scikit_learn": Poc(
        "which orders come back; a pipeline and a feature in pandas, as "
        "docs/existing-repository.md has it",
        test_adopt.returns,
        RETURNS,
        test_existing.migrate,
        {},
    ),
}


@dataclass(frozen=True)
class Adopted:
    """A proof of concept that is served.

    Attributes:
        framework: That of the project.
        edited: The files that differ from what `poe adopt` has left, but for uv.lock.
        seconds: Of each step, by its command.
    """

    framework: str
    edited: list[str]
    seconds: Mapping[str, float]


def measure(repository: Path, folder: Path) -> list[Adopted]:
    """Bring each proof of concept into a new project of an empty folder, and serve it."""
    return [serve(repository, folder / framework, framework) for framework in POCS]


def serve(repository: Path, folder: Path, framework: str) -> Adopted:
    """Bring a proof of concept into a new project, and serve it.

    Raises:
        AssertionError: When a command fails, or predictions do.
    """
    print(framework, flush=True)
    poc = POCS[framework]
    project = conftest.make_project(
        repository, folder / "project", {"framework": framework, **poc.answers}
    )
    brought = folder / "brought.csv"
    test_adopt.write(poc.rows(), brought)

    def took(*command: str | Path) -> float:
        return timing.seconds(partial(template.run, ["uv", "run", "poe", *command], project))

    seconds = {"adopt": took("adopt", brought, *poc.adopt)}
    template.commit(project, "Adopt the data")
    poc.bring(project)
    seconds["retune"] = took("retune", "--yes")
    changed = template.run(["git", "diff", "--name-only"], project).split()
    seconds |= {command: took(command) for command in ("check", "test")}
    template.commit(project, "Bring the model")
    try:
        lived = life.live(project).result
    finally:
        life.end(project)
    if lived["failed_predictions"] or lived["serving_version"] != len(lived["model_versions"]):
        raise AssertionError(f"{framework}: {lived}")
    stages = lived["seconds"]
    seconds["local, until it is served"] = sum(stages[stage] for stage in SERVED)
    seconds["local, the rest of the life"] = stages["total"] - seconds["local, until it is served"]
    return Adopted(framework, [name for name in changed if name != "uv.lock"], seconds)
