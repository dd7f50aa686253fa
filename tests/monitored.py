"""Run in a project's environment: the sample's features, and what the project's monitors find.

`python monitored.py FOLDER` writes to the folder what an AWS account would hold: train.csv,
captured predictions in capture-like/ and capture-unlike/, labels/, and in own/ the project's
baseline and reports, also of the same predictions as those of a day, with the thresholds that hold
for a day. What is unlike the training has other distances, unknown carriers and missing weather.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl

from local import sample_data
from usecase import config

USE_CASE = config.load(Path("usecase.toml"))
FEATURES = USE_CASE.features.names
ROWS = 900
DAY = ("2026-01-15T00:00:00+00:00", "2026-01-16T00:00:00+00:00")
# Too short for what the training data tells of windows of a length: the general thresholds hold.
MINUTES = ("2026-01-15T12:15:00+00:00", "2026-01-15T12:45:00+00:00")
HOUR = Path("endpoint", "AllTraffic", "2026", "01", "15", "12")


def command(name: str, base: Path) -> None:
    """Run a command of the image in a folder that stands for /opt/ml."""
    environment = {**os.environ, "PYTHONPATH": "src", "SAGEMAKER_BASE_DIR": str(base)}
    subprocess.run([sys.executable, "-m", "usecase", name], env=environment, check=True)


def prepared(base: Path) -> pl.DataFrame:
    """Features and target to train on, of every twelfth flight of six months."""
    months = pl.col("month") <= 6
    for name, table in (("flights", sample_data.flights()), ("weather", sample_data.weather())):
        target = base / "processing" / "input" / name
        target.mkdir(parents=True)
        rows = table.filter(months)
        rows = rows.gather_every(12) if name == "flights" else rows
        rows.write_parquet(target / "2013.parquet")
    command("prepare", base)
    return pl.read_parquet(base / "processing" / "output" / "train" / "*.parquet")


def line(number: int, values: tuple[object, ...], probability: float) -> str:
    """A captured record, one row asked and answered as CSV."""
    sent = ",".join("" if value is None else str(value) for value in values)
    sides = {"endpointInput": sent, "endpointOutput": str(probability)}
    record = {
        "captureData": {
            side: {"observedContentType": "text/csv", "data": f"{text}\n", "encoding": "CSV"}
            for side, text in sides.items()
        },
        "eventMetadata": {
            "eventId": f"event-{number}",
            "inferenceId": f"id-{number}",
            "inferenceTime": "2026-01-15T12:30:00Z",
        },
        "eventVersion": "0",
    }
    return json.dumps(record) + "\n"


def label(number: int, value: int) -> str:
    """The label of a record."""
    record = {
        "groundTruthData": {"data": str(value), "encoding": "CSV"},
        "eventMetadata": {"eventId": f"id-{number}"},
        "eventVersion": "0",
    }
    return json.dumps(record) + "\n"


def write(path: Path, text: str) -> None:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def report(
    monitor: str,
    name: str,
    folder: Path,
    inputs: dict[str, Path],
    window: tuple[str, str] = MINUTES,
) -> None:
    """Let a monitor of the project look at captured predictions; keep its report."""
    base = folder / f"ml-{name}"
    for key, source in inputs.items():
        shutil.copytree(source, base / "processing" / "input" / "files" / key)
    start, end = window
    asked = {"start": start, "end": end, "baseline": "baseline", "served_partly": ""}
    plan = {
        "execution": "execution",
        "version": "1",
        "labels": "labels",
        "monitors": {monitor: asked},
    }
    write(base / "processing" / "input" / "plan" / "plan.json", json.dumps(plan))
    command("monitor", base)
    reports = base / "processing" / "output" / "report"
    shutil.copytree(reports / monitor / "execution", folder / "own" / name)


def main(folder: Path) -> None:
    """Write everything."""
    base = folder / "ml"
    train = prepared(base)
    train.select(FEATURES).write_csv(folder / "train.csv")
    shutil.copytree(
        base / "processing" / "output" / "train", base / "processing" / "input" / "train"
    )
    command("baseline", base)
    baseline = folder / "own" / "baseline"
    shutil.copytree(base / "processing" / "output" / "baseline", baseline)

    asked = train.sample(ROWS, seed=1)  # what a route is late by changes with the weeks
    unlike = asked.with_columns(
        distance=pl.col("distance") * 1.5,
        carrier=pl.concat_str(pl.col("carrier"), pl.lit("?")),
        visibility=pl.when(pl.int_range(pl.len()) % 3 == 0).then(None).otherwise("visibility"),
    )
    truth = [int(value) for value in asked[USE_CASE.target.column]]
    # Right more often than not, and different enough for a curve.
    probabilities = [round(0.2 + 0.3 * late + n % 17 / 50, 3) for n, late in enumerate(truth)]
    for name, rows in (("like", asked), ("unlike", unlike)):
        lines = [
            line(number, values, probability)
            for number, (values, probability) in enumerate(
                zip(rows.select(FEATURES).iter_rows(), probabilities, strict=True)
            )
        ]
        write(folder / f"capture-{name}" / HOUR / "a.jsonl", "".join(lines))
        inputs = {"baseline": baseline, "capture/version=1": folder / f"capture-{name}"}
        report("data_quality", name, folder, inputs)
        report("data_quality", f"{name}-day", folder, inputs, DAY)
    write(
        folder / "labels" / "2026/01/15/12/a.jsonl",
        "".join(label(number, value) for number, value in enumerate(truth) if number % 3),
    )
    limits = {
        name: {"threshold": threshold, "comparison_operator": "LessThanThreshold"}
        for name, threshold in (("auc", 0.5), ("precision", 0.99), ("f1", 0.1))
    }
    document = {"version": 0.0, "binary_classification_constraints": limits}
    write(folder / "limits" / "constraints.json", json.dumps(document))
    inputs = {"capture/version=1": folder / "capture-like", "labels": folder / "labels"}
    report("model_quality", "model", folder, {"baseline": folder / "limits", **inputs})
    write(folder / "threshold", str(USE_CASE.target.decision_threshold))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
