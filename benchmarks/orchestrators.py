"""A training under an orchestrator, against its steps as plain Python one after the other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from benchmarks import bare
from benchmarks.bare import Job
from tests.scenarios import Scene


@dataclass(frozen=True)
class Orchestrator:
    """Median seconds of a training.

    Attributes:
        name: Of the orchestrator.
        execution: Of the whole execution.
        idle: Of the execution, while none of its jobs is there: what the orchestrator itself takes.
        bare: Of its steps as plain processes, one after the other.
    """

    name: str
    execution: float
    idle: float
    bare: float


def measure(scene: Scene, times: int = 5) -> Orchestrator:
    """Train several times, each time followed by the same steps bare."""
    one_training(scene)  # the first one does not count
    measured = [one_training(scene) for _ in range(times)]
    execution, idle, alone = (median(values) for values in zip(*measured, strict=True))
    return Orchestrator(scene.combination.orchestrator, execution, idle, alone)


def one_training(scene: Scene) -> tuple[float, float, float]:
    """Seconds of an execution, of its time without a job, and of its steps bare."""
    execution = scene.start(Trigger="manual")
    # A question a second does not keep the machine from the work.
    while (state := scene.describe(execution)["status"]) == "running":
        time.sleep(1)
    if state != "succeeded":
        raise RuntimeError(f"{execution} has {state}")
    folder = execution.replace(":", "/").rpartition("/")[2]
    jobs = [job for job in bare.jobs(scene.life, "training") if job.execution == folder]
    began, ended = period(scene, execution)
    alone = sum(bare.run(scene.life, job) for job in jobs)
    return (ended - began).total_seconds(), without_a_job(began, ended, jobs), alone


def period(scene: Scene, execution: str) -> tuple[datetime, datetime]:
    """Begin and end of an execution."""
    if scene.combination.orchestrator == "step_functions":
        states = scene.life.client("stepfunctions")
        state = states.describe_execution(executionArn=execution)
        return state["startDate"], state["stopDate"]
    sagemaker = scene.life.client("sagemaker")
    state = sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)
    return state["CreationTime"], state["LastModifiedTime"]


def without_a_job(began: datetime, ended: datetime, jobs: Sequence[Job]) -> float:
    """Seconds of a period in which none of the jobs has been created and not ended.

    Args:
        began: Begin of the period.
        ended: Its end.
        jobs: The jobs, oldest first.
    """
    idle, busy_until = 0.0, began
    for job in jobs:
        idle += max((job.created - busy_until).total_seconds(), 0)
        busy_until = max(busy_until, job.ended)
    return idle + max((ended - busy_until).total_seconds(), 0)
