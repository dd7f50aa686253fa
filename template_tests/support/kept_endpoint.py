"""What is kept of the predictions of an endpoint: read, brought to the data bucket, spoilt."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from support.image import write_lines
from support.inference_endpoint import NAMES, PREFIX

from ops import aws
from usecase import predictions
from usecase.config import UseCase
from usecase.predictions import Reading, Window
from usecase.predictions.collect import CAPTURE, collect
from workflows import names

#: What a text in place of a number breaks: the endpoint refuses it, others may not.
NO_NUMBER = {"data_type_check", "completeness_check"}


def kept(folder: Path, use_case: UseCase) -> Reading:
    """What is read of what `keep` has written."""
    collect(folder / CAPTURE, folder, use_case, "1", {})
    return predictions.read([folder], use_case, Window("1"))


def upload(folder: Path) -> None:
    """Bring predictions that `keep` has written to the data bucket."""
    where = f"{PREFIX}version=1/{NAMES.endpoint}/{names.VARIANT}"
    (path,) = folder.rglob("*.jsonl")
    event = json.loads(path.read_text().splitlines()[0])
    time = datetime.fromisoformat(event["eventMetadata"]["inferenceTime"])
    key = f"{where}/{time:%Y/%m/%d/%H}/{folder.name}.jsonl"
    aws.s3().upload_file(str(path), aws.bucket(), key)


def spoil(folder: Path, every: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Change every so many of the events that `keep` has written."""
    (path,) = folder.rglob("*.jsonl")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    for line in events[::every]:
        change(line)
    write_lines(path, events)


def unreadable(line: dict[str, Any]) -> None:
    line["captureData"]["endpointInput"].update(data="\ufffd\ufffd", encoding="BASE64")


def without_answer(line: dict[str, Any]) -> None:
    del line["captureData"]["endpointOutput"]


def a_month_ahead(line: dict[str, Any]) -> None:
    line["eventMetadata"]["inferenceTime"] = "2026-02-15T12:30:00Z"


#: What can go wrong with what is kept; by which reason it is seen, and in what fraction.
FAULTS: list[tuple[Callable[[Path], None], str, float]] = [
    (lambda folder: spoil(folder, 3, unreadable), "unreadable", 1 / 3),
    (lambda folder: spoil(folder, 2, without_answer), "incomplete", 1 / 2),
    (lambda folder: spoil(folder, 1, a_month_ahead), "mistimed", 1.0),
]
