"""Seconds per stage of `poe local`, against the same steps as plain Python."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from benchmarks import bare, invoke, timing
from tests.life import Life

REQUESTS = 1500


@dataclass(frozen=True)
class Stage:
    """A stage of the life.

    Attributes:
        name: As `poe local` prints it.
        local: Seconds of the stage.
        bare: Seconds of its jobs and requests as plain Python; `None` where it has none.
        jobs: What is in `bare`.
    """

    name: str
    local: float
    bare: float | None
    jobs: str


@dataclass(frozen=True)
class Step:
    """A job.

    Attributes:
        name: Of the step.
        local: Seconds from its creation to its end in the local AWS.
        bare: Seconds of the same command as a plain process.
    """

    name: str
    local: float
    bare: float


def measure(life: Life, port: int) -> tuple[list[Stage], list[Step]]:
    """Run everything that a life has run once more, bare.

    Args:
        life: Whose local AWS still runs.
        port: Of a server with the same model, without the local AWS.
    """
    trainings, monitorings = (
        [list(jobs) for _, jobs in groupby(bare.jobs(life, name), lambda job: job.execution)]
        for name in ("training", "monitoring")
    )
    rows = invoke.captured_rows(life)[:REQUESTS]
    requests = timing.seconds(lambda: invoke.replay(invoke.through_boto3(life, port), rows))
    executions = dict(zip(("train", "retrain"), trainings, strict=True))
    executions |= dict(zip(("2013-07", "2013-09"), monitorings, strict=True))
    stages, steps = [], []
    for name, seconds in life.result["seconds"].items():
        ran = [Step(job.step, job.managed, bare.run(life, job)) for job in executions.get(name, [])]
        steps += ran
        replayed = requests if executions.get(name) in monitorings else 0
        alone = sum(step.bare for step in ran) + replayed
        what = [step.name for step in ran] + [f"{len(rows)} requests"] * bool(replayed)
        stages.append(Stage(name, seconds, alone if ran else None, ", ".join(what)))
    return stages, steps


def middle_stages(lives: Sequence[Sequence[Stage]]) -> list[Stage]:
    """The medians over several lives."""
    return [
        Stage(
            name=same[0].name,
            local=median(stage.local for stage in same),
            bare=median([s.bare for s in same if s.bare is not None] or [0]) or None,
            jobs=same[0].jobs,
        )
        for same in zip(*lives, strict=True)
    ]


def middle_steps(lives: Sequence[Sequence[Step]]) -> list[Step]:
    """The medians over several lives and all executions of a step."""
    everything = [step for steps in lives for step in steps]
    names = dict.fromkeys(step.name for step in everything)
    return [
        Step(
            name,
            median(step.local for step in everything if step.name == name),
            median(step.bare for step in everything if step.name == name),
        )
        for name in names
    ]
