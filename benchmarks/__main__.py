"""Measure everything, write results.md and the README's figures: `make bench`.

With the name of a part, `python -m benchmarks filled`, measure that part and print it.
"""

import argparse
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import (
    adopting,
    bare,
    batch,
    filled,
    generation,
    invoke,
    lifecycle,
    local_aws,
    logged,
    orchestrators,
    requests,
    serving,
)
from benchmarks.batch import Batch
from benchmarks.invoke import Invoke
from benchmarks.lifecycle import Stage, Step
from benchmarks.logged import Logged
from benchmarks.report import (
    Results,
    alone,
    asked,
    beside,
    brought,
    figures,
    kept,
    made,
    report,
    scored,
    served,
)
from benchmarks.requests import Requests
from benchmarks.serving import Serving
from tests import conftest, life, matrix, scenarios, template
from tests.scenarios import Combination, Scene

LIVES = 3
PROBLEM = "binary_classification"
RESULTS = Path(__file__).with_name("results.md")
README = template.ROOT / "README.md"
FIGURES = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end -->)", re.DOTALL)


def measure(folder: Path) -> Results:
    """Measure in an empty folder."""
    repository = committed(folder)
    print("generation", flush=True)
    size = generation.measure(repository, folder)
    stages, steps, asked = lives(conftest.make_project(repository, folder / "flight-delays"))
    orchestrated = []
    for name in matrix.choices()["orchestrator"]:
        with staged(repository, Combination(name, "realtime", PROBLEM)) as scene:
            orchestrated.append(orchestrators.measure(scene))
    many = many_rows(repository)
    print("servers", flush=True)
    servers = beside_others(repository)
    print("the log", flush=True)
    log = with_log(repository)
    print("the local AWS by itself", flush=True)
    alone = folder / "alone"
    alone.mkdir()
    itself = local_aws.measure(alone)
    print("the local AWS, empty and filled", flush=True)
    pair = folder / "pair"
    pair.mkdir()
    beside = filled.measure(pair)
    print("requests", flush=True)
    both = both_ways(repository)
    pocs = adopting.measure(repository, folder / "adopted")
    return Results(
        LIVES,
        size,
        stages,
        steps,
        asked,
        orchestrated,
        many,
        servers,
        log,
        itself,
        beside,
        both,
        pocs,
    )


def beside_others(repository: Path) -> Serving:
    """Ask the server of a new project, and others, beside the template's repository."""
    folder = repository.with_name("servers")
    folder.mkdir()
    return serving.measure(
        conftest.make_project(repository, repository.with_name("served")), folder
    )


def with_log(repository: Path) -> Logged:
    """Ask a serverless endpoint's server, in a new project beside the template's repository."""
    answers = {"inference_mode": "serverless"}
    project = conftest.make_project(repository, repository.with_name("logged"), answers)
    base = repository.with_name("logged-ml")
    base.mkdir()
    return logged.measure(project, base)


def both_ways(repository: Path) -> Requests:
    """Ask with features and with requests, in a new project beside the template's repository."""
    project = conftest.make_project(repository, repository.with_name("requests"))
    base = repository.with_name("requests-ml")
    base.mkdir()
    return requests.measure(project, base)


def many_rows(repository: Path) -> Batch:
    """Score two million rows, in a new project beside the template's repository."""
    with staged(repository, Combination("sagemaker_pipelines", "batch", PROBLEM)) as scene:
        return batch.measure(scene)


def lives(project: Path) -> tuple[list[Stage], list[Step], Invoke]:
    """Live several times in a project with default answers."""
    stages, steps = [], []
    for number in range(LIVES + 1):
        print(f"life {number} of {LIVES}" if number else "life that installs", flush=True)
        try:
            lived = life.live(project)
            if not number:
                continue
            with bare.server(lived) as port:
                lived_stages, lived_steps = lifecycle.measure(lived, port)
                stages.append(lived_stages)
                steps.append(lived_steps)
                if number == LIVES:
                    asked = invoke.measure(lived, port)
        finally:
            life.end(project)
    return lifecycle.middle_stages(stages), lifecycle.middle_steps(steps), asked


def committed(folder: Path) -> Path:
    """The template as a repository in a folder."""
    repository = folder / "template"
    repository.mkdir()
    template.commit(template.snapshot(repository), "The template")
    return repository


@contextmanager
def staged(repository: Path, combination: Combination) -> Iterator[Scene]:
    """A scene in a new project beside the template's repository."""
    print(combination, flush=True)
    project = conftest.make_project(
        repository, repository.with_name(str(combination)), vars(combination)
    )
    with scenarios.staged(combination, project) as scene:
        yield scene


#: Parts by name: what measures one in an empty folder and tells of it.
PARTS: dict[str, Callable[[Path], str]] = {
    "adopting": lambda folder: brought(adopting.measure(committed(folder), folder / "adopted")),
    "alone": lambda folder: alone(local_aws.measure(folder)),
    "batch": lambda folder: scored(many_rows(committed(folder))),
    "filled": lambda folder: beside(filled.measure(folder)),
    "logged": lambda folder: kept(with_log(committed(folder))),
    "serving": lambda folder: served(beside_others(committed(folder))),
    "generation": lambda folder: made(generation.measure(committed(folder), folder)),
    "requests": lambda folder: asked(both_ways(committed(folder))),
}


def main() -> None:
    """Measure everything and write, or measure a part and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure.")
    parser.add_argument("part", nargs="?", choices=PARTS, help="measure this part and print it")
    part = parser.parse_args().part
    with tempfile.TemporaryDirectory() as folder:
        if part:
            print(PARTS[part](Path(folder)))
            return
        results = measure(Path(folder))
    text = report(results)
    RESULTS.write_text(text)
    README.write_text(FIGURES.sub(lambda _: figures(results), README.read_text()))
    print(text)


if __name__ == "__main__":
    main()
