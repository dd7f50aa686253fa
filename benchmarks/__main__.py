"""Measure everything, write results.md and the README's figures: `make bench`."""

import os
import platform
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import bare, generation, invoke, lifecycle
from tests import conftest, life, template

LIVES = 3
RESULTS = Path(__file__).with_name("results.md")
README = template.ROOT / "README.md"
FIGURES = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class Results:
    """What has been measured."""

    generation: generation.Generation
    stages: list[lifecycle.Stage]
    steps: list[lifecycle.Step]
    invoke: invoke.Invoke


def measure(folder: Path) -> Results:
    """Measure in an empty folder."""
    repository = folder / "template"
    repository.mkdir()
    template.commit(template.snapshot(repository), "The template")
    print("generation", flush=True)
    made = generation.measure(repository, folder)
    project = conftest.make_project(repository, folder / "flight-delays")
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
    return Results(made, lifecycle.middle_stages(stages), lifecycle.middle_steps(steps), asked)


def machine() -> str:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def report(results: Results) -> str:
    """The results as Markdown."""
    copy, version = results.generation.copy, results.generation.version
    local, plain = with_counterpart(results)
    managed, jobs = sum(s.local for s in results.steps), sum(s.bare for s in results.steps)
    ways = results.invoke
    stages = "\n".join(
        f"| {s.name} | {s.local:.1f} | {f'{s.bare:.1f}' if s.bare else '-'} | {s.jobs} |"
        for s in results.stages
    )
    steps = "\n".join(
        f"| {s.name} | {s.local:.2f} | {s.bare:.2f} | {s.local - s.bare:+.2f} |"
        for s in results.steps
    )
    return f"""# What it costs in time

Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Medians of runs in turn.

## The life, by stage

`poe local` after its first run has installed everything, against the same jobs as plain Python
processes one after the other and the same requests sent to the server itself ({LIVES} lives). The
other stages are CDK, CloudFormation and EventBridge at work, which have no plain counterpart.

| stage | `poe local`, s | bare, s | what is bare |
|---|---:|---:|---|
{stages}

The stages with a counterpart take {local:.1f} s, bare {plain:.1f} s: **{local / plain - 1:+.0%}**.

## A job

From its creation to its end in the local AWS (S3 transfer included), against its process alone.

| step | local AWS, s | bare, s | difference, s |
|---|---:|---:|---:|
{steps}

All steps once: {managed:.1f} s, bare {jobs:.1f} s: **{managed / jobs - 1:+.0%}**.

## Making a project

| | s |
|---|---:|
| `copier copy --defaults` ({results.generation.files} files) | {copy:.2f} |
| `copier --version` | {version:.2f} |

Ratio: **{copy / version:.2f}**.

## One prediction

| | ms |
|---|---:|
| boto3 through the local AWS, with data capture | {ways.boto3 * 1000:.2f} |
| boto3 to the server itself | {ways.boto3_direct * 1000:.2f} |
| plain HTTP through the local AWS, with data capture | {ways.plain * 1000:.2f} |
| plain HTTP to the server itself | {ways.direct * 1000:.2f} |
"""


def with_counterpart(results: Results) -> tuple[float, float]:
    """Seconds of the stages that have a bare counterpart, and of that."""
    alone = [stage for stage in results.stages if stage.bare is not None]
    return sum(s.local for s in alone), sum(s.bare or 0 for s in alone)


def figures(results: Results) -> str:
    """The figures of the README; each stands in the report too."""
    local, plain = with_counterpart(results)
    total = next(stage.local for stage in results.stages if stage.name == "total")
    copy, version = results.generation.copy, results.generation.version
    return f"""\
- `poe local` takes {total:.1f} s once its first run has installed everything. The stages that run
  jobs and predict take {local:.1f} s, their jobs and requests as plain Python {plain:.1f} s:
  {local / plain - 1:+.0%}.
- Making a project takes {copy:.2f} s, {copy / version:.2f} times `copier --version`.
- A prediction with boto3 takes {results.invoke.boto3 * 1000:.2f} ms through the local AWS, data
  capture included, and {results.invoke.boto3_direct * 1000:.2f} ms from the server itself.

Measured on {machine()}.
"""


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder))
    text = report(results)
    RESULTS.write_text(text)
    README.write_text(FIGURES.sub(lambda _: figures(results), README.read_text()))
    print(text)


if __name__ == "__main__":
    main()
