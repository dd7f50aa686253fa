"""A version with other features than the one before it: what each sees of the same records.

The sample's features change in the working tree; records are predicted by the version that serves,
and the monitors and the comparison are asked what they have found.
"""

import csv
import io
import json
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests import template
from tests.scenarios import Scene, until

# Prints the records of a day as the model of the working tree sees them; so many at most, whose
# label is known, or all.
RECORDS = """
import json, sys
from datetime import date
import polars as pl
from usecase import config, features
day, most = date.fromisoformat(sys.argv[1]), int(sys.argv[2])
use_case = config.load()
months = [f"2013-{month:02}" for month in range(1, day.month + 1)]
mart = {
    t: pl.concat((pl.read_parquet(f"data/{t}/{m}.parquet") for m in months), how="vertical_relaxed")
    for t in use_case.data.tables
}
records = features.build(mart).filter(pl.col(use_case.data.time).dt.date() == day)
if most:
    records = records.filter(pl.col(use_case.target.column).is_not_null())[:most]
print(json.dumps({
    "names": use_case.features.names,
    "ids": records[use_case.data.id].to_list(),
    "target": use_case.target.column,
    "truth": records[use_case.target.column].to_list(),
    "rows": records.select(use_case.features.names).rows(),
}))
"""

# Prints the metrics of a model, by the code on PYTHONPATH, for the records of test data, of which
# it takes no more than the ids and the labels.
PLAIN = """
import json, sys
from pathlib import Path
import polars as pl
from usecase import config, features, metrics
from usecase.model import Model
model, test, mart = map(Path, sys.argv[1:])
use_case = config.load()
known = pl.read_parquet(test / "*.parquet").select(use_case.data.id, use_case.target.column)
tables = {
    t: pl.concat(map(pl.read_parquet, sorted((mart / t).glob("*.parquet"))), how="vertical_relaxed")
    for t in use_case.data.tables
}
built = features.build(tables).drop(use_case.target.column)
rows = known.join(built, on=use_case.data.id, maintain_order="left")
assert rows.height == known.height
columns = {name: rows[name].to_list() for name in use_case.features.names}
output = use_case.target.predicted(Model.load(model).predict(columns))
labels = rows[use_case.target.column].to_numpy()
print(json.dumps(metrics.summary(labels, output, use_case.target)))
"""

# Version 2 has one feature more, which comes first, and another one in the place of a third.
OTHER_FEATURES = {
    "usecase.toml": {
        'numeric = ["hour", ': 'numeric = ["wind_speed", "hour", ',
        '"precipitation"': '"temperature"',
        'precipitation = "number"': 'wind_speed = "number"\ntemperature = "number"',
    },
    "src/usecase/features.py": {'precipitation="precip"': '"wind_speed", temperature="temp"'},
}
CHANGES = [
    "Only version 1 has the features precipitation.",
    "Only version 2 has the features temperature, wind_speed.",
    "Their features are built by different code",
]


@dataclass(frozen=True)
class Records:
    """Records of a day as a version of the model sees them.

    Attributes:
        day: The day, in ISO 8601.
        names: The names of the features.
        ids: The ids.
        target: The name of the target.
        truth: The labels, `None` where it is not known.
        rows: The features.
    """

    day: str
    names: list[str]
    ids: list[str]
    target: str
    truth: list[Any]
    rows: list[list[Any]]

    @property
    def labels(self) -> list[tuple[str, Any]]:
        """Id and label of those whose label is known."""
        pairs = zip(self.ids, self.truth, strict=True)
        return [(record, value) for record, value in pairs if value is not None]

    def column(self, name: str) -> list[Any]:
        """The values of a feature that are not missing."""
        place = self.names.index(name)
        return [row[place] for row in self.rows if row[place] is not None]


def records(scene: Scene, day: str) -> Records:
    """Records of a day as the model of the working tree sees them: all, or those to be sent."""
    most = "0" if scene.combination.batch else "300"
    command = ["uv", "run", "python", "-c", RECORDS, day, most]
    return Records(day, **json.loads(template.run(command, scene.life.project)))


def bring(scene: Scene, month: str) -> None:
    """Bring a month of the sample into the data mart."""
    s3 = scene.life.client("s3")
    for file in sorted((scene.life.project / "data").glob(f"*/{month}.parquet")):
        s3.upload_file(str(file), scene.bucket, f"mart/{file.parent.name}/{file.name}")


def predict(scene: Scene, records: Records) -> tuple[str, str]:
    """Let what serves predict records, and tell what became of them.

    Returns:
        The window that they are in, in ISO 8601.
    """
    day = date.fromisoformat(records.day)
    window = f"{day}T00:00:00Z", f"{day + timedelta(days=1)}T00:00:00Z"
    if scene.combination.batch:
        scene.score(records.day)
    else:
        window = send(scene, records)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "truth.csv")
        with file.open("w", newline="") as output:
            csv.writer(output).writerows([("flight_id", records.target), *records.labels])
        scene.life.ops("labels", str(file))
    return window


def send(scene: Scene, records: Records) -> tuple[str, str]:
    """Send records to the endpoint, and wait until they are captured."""
    runtime, start = scene.life.client("sagemaker-runtime"), datetime.now(UTC)
    for record, row in zip(records.ids, records.rows, strict=True):
        body = io.StringIO()
        csv.writer(body).writerow("" if value is None else value for value in row)
        runtime.invoke_endpoint(
            EndpointName=scene.life.slug,
            ContentType="text/csv",
            InferenceId=record,
            Body=body.getvalue().encode(),
        )
    end = datetime.now(UTC) + timedelta(seconds=1)
    until("the captures", lambda: set(records.ids) <= captured(scene) or None)
    return f"{start:%Y-%m-%dT%H:%M:%SZ}", f"{end:%Y-%m-%dT%H:%M:%SZ}"


def captured(scene: Scene) -> set[str]:
    """The inference ids of all that was captured."""
    lines = (line for key in scene.keys("capture/") for line in scene.read(key).splitlines())
    return {json.loads(line)["eventMetadata"]["inferenceId"] for line in lines}


def download(scene: Scene, prefix: str, folder: Path) -> Path:
    """Copy what is below a prefix of the data bucket to a folder."""
    for key in scene.keys(f"{prefix.rstrip('/')}/"):
        file = folder / key.removeprefix(prefix).lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(scene.read(key))
    return folder


def monitored(scene: Scene, start: str, end: str, broken: str = "") -> dict[str, dict[str, Any]]:
    """What the monitors report of a window: statistics.json of each, by version.

    The monitor `broken` is to fail, and the execution with it, though the others report.
    """
    request = {"trigger": "manual", "time": end, "start": start, "end": end}
    answer = scene.invoke("monitoring-start", request | {"idempotency_key": str(uuid.uuid4())})
    reports: dict[str, dict[str, Any]] = {}
    for version, arn in answer["started"].items():
        state = scene.ended(arn)
        if (state["status"] != "succeeded") != bool(broken) or broken not in state["reason"]:
            raise AssertionError(f"{arn}: {state}")
        execution = arn.replace(":", "/").rpartition("/")[2]
        reports[version] = {
            monitor: json.loads(scene.read(f"monitoring/{monitor}/{execution}/statistics.json"))
            for monitor in scene.life.result["answers"]["monitors"]
            if monitor != broken
        }
    return reports


@contextmanager
def deployed(scene: Scene) -> Iterator[None]:
    """Other features in the working tree, and deployed; afterwards the files are as before."""
    before = {name: (scene.life.project / name).read_text() for name in OTHER_FEATURES}
    try:
        for name, changes in OTHER_FEATURES.items():
            text = before[name]
            for old, new in changes.items():
                if text.count(old) != 1:
                    raise AssertionError(f"{name} has {old!r} {text.count(old)} times")
                text = text.replace(old, new)
            (scene.life.project / name).write_text(text)
        deploy = ["uv", "run", "poe", "deploy", "--require-approval", "never"]
        template.run(deploy, scene.life.project, scene.life.environment)
        yield
    finally:
        for name, text in before.items():
            (scene.life.project / name).write_text(text)


def plain_comparison(scene: Scene, code: Path, folder: Path) -> dict[str, float]:
    """The metrics of version 1 on the test data of version 2, without AWS or any of its jobs.

    Args:
        scene: With versions 1 and 2.
        code: A copy of the project as it was when version 1 was trained.
        folder: An empty folder.
    """
    older, newer = (scene.call("ops.models.find", number) for number in (1, 2))
    artifact = urlsplit(older["artifact"]).path.lstrip("/")
    archive = folder / "model.tar.gz"
    archive.write_bytes(scene.read(artifact))
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "model", filter="data")
    test = download(scene, urlsplit(newer["test_data"]).path.lstrip("/"), folder / "test")
    mart = download(scene, "mart", folder / "mart")
    place = {"PYTHONPATH": str(code / "src"), "USECASE_TOML": str(code / "usecase.toml")}
    command: list[str | Path] = ["uv", "run", "python", "-c", PLAIN]
    command += [folder / "model", test, mart]
    found: dict[str, float] = json.loads(template.run(command, scene.life.project, place))
    return found
