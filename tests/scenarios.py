"""A project of each orchestrator and each mode, brought to life as far as its first version."""

import json
import shutil
import tarfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from typing import Any, TypeVar

from tests import life, matrix, template
from tests.inside import Inside

T = TypeVar("T")

# The stages of `poe local` up to the first version that predicts.
FIRST_STAGES = """
import json
from local.lifecycle import Life
life = Life()
for stage in (life.start, life.deploy, life.arrive, life.train, life.approve):
    stage()
print(json.dumps(life.summary()))
"""

# AWS delivers events at least once: here some come twice.
DUPLICATES = {"LOCAL_AWS_DUPLICATE_EVENTS": "0.2"}

# A value of the approval metric that no model of the sample reaches.
OUT_OF_REACH = {
    "binary_classification": ("auc", "0.99"),
    "multiclass_classification": ("weighted_f1", "0.99"),
    "regression": ("rmse", "0.5"),
}


# What a person starts the workflows with.
PARAMETERS = {
    "training": {"Trigger": "manual"},
    "batch": {"Start": "2013-06-29", "End": "2013-06-30"},
}

# Brings two flights of a day into the data mart once more: as it is, and with a distance that is no
# number and an id of its own; and a third one without its id. It prints the first one's id.
BREAK_RECORDS = """
import sys
from datetime import date
from io import BytesIO
import polars as pl
from ops import aws
day, key = date.fromisoformat(sys.argv[1]), sys.argv[2]
flights = pl.read_parquet(f"data/flights/{day:%Y-%m}.parquet")
first, second, third = flights.filter(pl.col("day") == day.day)[:3].iter_slices(1)
odd = second.with_columns(flight_id=pl.lit("odd"), distance=pl.lit(float("inf")))
nameless = third.with_columns(flight_id=pl.lit(None, pl.String))
content = BytesIO()
pl.concat([first, odd, nameless], how="vertical_relaxed").write_parquet(content)
aws.s3().put_object(Bucket=aws.bucket(), Key=key, Body=content.getvalue())
print(first["flight_id"].item())
"""


@dataclass(frozen=True)
class Broken:
    """Records that cannot be scored.

    Attributes:
        key: The object of the data mart that has brought them.
        reasons: Id and reason of each record that is rejected.
        lost: How many records of the day cannot be scored because of them.
    """

    key: str
    reasons: list[tuple[str, str]]
    lost: int


@dataclass(frozen=True)
class Combination:
    """The answers that a scenario is played with."""

    orchestrator: str
    inference_mode: str
    problem_type: str
    framework: str = "xgboost"

    @property
    def batch(self) -> bool:
        """Whether predictions are made in batches."""
        return self.inference_mode == "batch"

    def __str__(self) -> str:
        return "-".join(vars(self).values())


def combinations() -> Iterator[Combination]:
    """Every orchestrator in every mode for two problem types; for the third, each once.

    The frameworks take turns, so that each meets every problem type.
    """
    asked = matrix.choices()
    orchestrators, modes = asked["orchestrator"], asked["inference_mode"]
    frameworks = cycle(asked["framework"])
    for answers in product(orchestrators, modes, ("binary_classification", "regression")):
        yield Combination(*answers, next(frameworks))
    for orchestrator, mode in zip(cycle(reversed(orchestrators)), modes, strict=False):
        yield Combination(orchestrator, mode, "multiclass_classification", next(frameworks))


class Scene:
    """A project whose first version predicts, on a local AWS that runs.

    Attributes:
        combination: The answers that it was made with.
        life: Its life.
        call: Calls a function of the project.
    """

    def __init__(self, combination: Combination, project: Path) -> None:
        command = ["uv", "run", "python", "-c", FIRST_STAGES]
        output = template.run(command, project, life.STRICT | DUPLICATES)
        self.combination = combination
        self.life = life.lived(project, output, json.loads(output.splitlines()[-1]))
        self.call = Inside(project, self.life.environment)
        account = self.life.client("sts").get_caller_identity()["Account"]
        self.bucket = f"{self.life.slug}-{account}-{self.life.result['answers']['aws_region']}"

    def workflow(self, name: str) -> str:
        """The full name of a workflow."""
        return f"{self.life.slug}-{name}"

    def executions(self, workflow: str = "training") -> list[str]:
        """The references of all executions of a workflow, newest first."""
        found = self.call("ops.workflow.executions", self.workflow(workflow))
        return [execution["reference"] for execution in found]

    def describe(self, execution: str) -> dict[str, Any]:
        """The state of an execution: `status`, `reason`, `running`, `parameters`."""
        found: dict[str, Any] = self.call("ops.workflow.describe", execution)
        return found

    def ended(self, execution: str) -> dict[str, Any]:
        """The state of an execution at its end."""

        def end() -> dict[str, Any] | None:
            state = self.describe(execution)
            return None if state["status"] == "running" else state

        return until(f"the end of {execution}", end)

    def trigger(self, execution: str) -> str:
        """What has started an execution."""
        return str(self.describe(execution)["parameters"]["Trigger"])

    def running(self, kind: str) -> str | None:
        """The ARN of a job of a kind, as `training-job`, that runs."""
        job = kind.partition("-")[0]
        # Those that run and no others: a short job may have ended while all were listed.
        jobs = getattr(self.life.client("sagemaker"), f"list_{job}_jobs")(StatusEquals="InProgress")
        found = jobs[f"{job.title()}JobSummaries"]
        return str(found[0][f"{job.title()}JobArn"]) if found else None

    def start(self, workflow: str = "training", **parameters: str) -> str:
        """Start a workflow with parameters; the execution's ARN."""
        given = PARAMETERS[workflow] | parameters
        return str(self.call("ops.workflow.start", self.workflow(workflow), given))

    def run_on_a_broken_file(self, workflow: str) -> dict[str, Any]:
        """Run a workflow while a file of the data mart is broken; its state at the end."""
        broken = {"Bucket": self.bucket, "Key": "mart/flights/2013-10.parquet"}
        s3 = self.life.client("s3")
        s3.put_object(Body=b"this is not a Parquet file", **broken)
        try:
            return self.ended(self.start(workflow))
        finally:
            s3.delete_object(**broken)

    @contextmanager
    def written(self, key: str) -> Iterator[None]:
        """Write an object; where it has records scored, that is over at the end of the context."""
        before = self.executions("batch") if self.combination.batch else []
        self.life.client("s3").put_object(Bucket=self.bucket, Key=key, Body=b"")
        yield
        if self.combination.batch and key == "mart/_SUCCESS":

            def started() -> set[str] | None:
                return set(self.executions("batch")) - set(before) or None

            (run,) = until("a run of the batch workflow", started)
            self.ended(run)

    def versions(self) -> list[dict[str, Any]]:
        """The versions in the registry, newest first."""
        found: list[dict[str, Any]] = self.call("ops.models.versions")
        return found

    def serving(self) -> dict[str, Any]:
        """All there is of what predicts: its version, its models, the endpoint if there is one."""
        sagemaker = self.life.client("sagemaker")
        return {
            "version": self.call("ops.models.serving")["number"],
            "models": sorted(model["ModelName"] for model in sagemaker.list_models()["Models"]),
            "endpoints": sagemaker.list_endpoints()["Endpoints"],
        }

    def invoke(self, function: str, event: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
        """Call a function with an event.

        Raises:
            AssertionError: When it fails.
        """
        answer = self.life.client("lambda").invoke(
            FunctionName=f"{self.life.slug}-{function}", Payload=json.dumps(event)
        )
        result = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise AssertionError(f"{function} has failed: {result}")
        return result

    def mails(self) -> list[dict[str, str]]:
        """The mails that were sent: subject and text of each."""
        s3 = self.life.client("s3")
        listed = s3.list_objects_v2(Bucket=self.bucket, Prefix="notifications/")
        return [
            json.load(s3.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"])
            for entry in listed.get("Contents", [])
        ]

    def mail(self, about: str) -> dict[str, str]:
        """Wait for the mail whose text has these words."""
        return until(
            f"a mail about {about}",
            lambda: next((mail for mail in self.mails() if about in mail["text"]), None),
        )

    def jobs(self) -> dict[str, str]:
        """The status of every job."""
        sagemaker = self.life.client("sagemaker")
        return {
            summary[f"{kind}JobArn"]: summary[f"{kind}JobStatus"]
            for kind, jobs in (
                ("Processing", sagemaker.list_processing_jobs(MaxResults=100)),
                ("Training", sagemaker.list_training_jobs(MaxResults=100)),
                ("Transform", sagemaker.list_transform_jobs(MaxResults=100)),
            )
            for summary in jobs[f"{kind}JobSummaries"]
        }

    def score(self, day: str) -> str:
        """Score the records of a day; what the command says."""
        return self.life.ops("batch", "--start", day, "--end", day)

    def break_records(self, day: str) -> Broken:
        """Bring records of a day into the data mart that cannot be scored."""
        key = "mart/flights/broken.parquet"
        command = ["uv", "run", "python", "-c", BREAK_RECORDS, day, key]
        first = template.run(command, self.life.project, self.life.environment).strip()
        twice = (first, "flight_id: 2 records have it")
        number = 'field distance: "inf" is not a number; leave it empty when it is not known'
        return Broken(key, [twice, twice, ("odd", number), ("", "flight_id: is empty")], lost=1)

    def scored(self, day: str) -> dict[str, Any]:
        """Of a day's predictions: `rows`, `records` and the newest `scored_at`."""
        rows = self.life.query(
            "SELECT day, count(*), count(DISTINCT inference_id), max(scored_at) FROM predictions "
            "GROUP BY day"
        )
        (found,) = (row[1:] for row in rows if row[0] == day)
        return {"rows": int(found[0]), "records": int(found[1]), "scored_at": found[2]}

    def rejected(self, day: str) -> list[tuple[str, str]]:
        """Id and reason of a day's records that were not scored."""
        rows = self.life.query("SELECT day, inference_id, reason FROM rejected")
        return [(row[1], row[2]) for row in rows if row[0] == day]

    def keys(self, prefix: str) -> list[str]:
        """The keys of the data bucket below a prefix."""
        pages = self.life.client("s3").get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in found for entry in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        """The content of an object of the data bucket."""
        body: bytes = self.life.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body


@contextmanager
def staged(combination: Combination, project: Path) -> Iterator[Scene]:
    """A scene in a project that was made with the combination; it ends with the context."""
    try:
        scene = Scene(combination, project)
        try:
            yield scene
        finally:
            scene.call.close()
    finally:
        life.end(project)


def until(what: str, probe: Callable[[], T | None], seconds: float = 120) -> T:
    """Ask until there is an answer.

    Raises:
        AssertionError: When there is none in time.
    """
    end = time.monotonic() + seconds
    while (found := probe()) is None:
        if time.monotonic() > end:
            raise AssertionError(f"{what}: nothing after {seconds:.0f} s")
        time.sleep(0.05)
    return found


def plain_metrics(project: Path, folder: Path) -> dict[str, float]:
    """The metrics of the first version, by its steps as plain processes: no AWS, no workflow.

    Args:
        project: A project that has written its sample data.
        folder: An empty folder, which stands for /opt/ml.
    """
    settings = tomllib.loads((project / "usecase.toml").read_text())
    inputs, outputs = folder / "processing" / "input", folder / "processing" / "output"

    def run(command: str) -> None:
        place = {"SAGEMAKER_BASE_DIR": str(folder)}
        template.run(["uv", "run", "python", "-m", "usecase", command], project, place)

    for table in settings["data"]["tables"]:
        for month in range(1, 7):
            file = Path(table, f"2013-{month:02}.parquet")
            (inputs / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / "data" / file, inputs / file)
    run("prepare")
    for channel in ("train", "validation", "lookups"):
        shutil.copytree(outputs / channel, folder / "input" / "data" / channel)
    shutil.copytree(outputs / "test", inputs / "test")
    parameters = {k: str(v) for k, v in settings["training"]["hyperparameters"].items()}
    (folder / "input" / "config").mkdir()
    (folder / "input" / "config" / "hyperparameters.json").write_text(json.dumps(parameters))
    (folder / "model").mkdir()
    run("train")
    (inputs / "model").mkdir()
    with tarfile.open(inputs / "model" / "model.tar.gz", "w:gz") as archive:
        archive.add(folder / "model", arcname=".")
    run("evaluate")
    report = json.loads((outputs / "evaluation" / "statistics.json").read_text())
    (section,) = (values for name, values in report.items() if name.endswith("_metrics"))
    return dict(numbers(section))


def numbers(section: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The metrics of a report that are one number."""
    for name, entry in section.items():
        if isinstance(entry.get("value"), int | float):
            yield name, float(entry["value"])
