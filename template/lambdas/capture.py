"""What is captured of requests to the endpoint, and what of it is collected into the tables."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from lambdas.aws import HOUR, Predictions, between, folders, s3, written_between
from workflows import keys

DAY = "%Y-%m-%d"


def predictions(first: datetime, last: datetime) -> Iterator[Predictions]:
    """The files below CAPTURE that can hold predictions made from `first` to before `last`.

    Of each version, the file that was written first comes first.

    `deploy` has each version captured in a folder of its own, `version=<N>/`; what lies outside of
    them is from before it did so.
    """
    where = f"{os.environ['ENDPOINT']}/{os.environ['VARIANT']}/"
    # What was captured at the end of an hour can be filed under the next one.
    hours = f"{first:{HOUR}}", f"{last + timedelta(hours=1):{HOUR}}"
    captured: dict[str, int | None] = {where: None}
    captured |= {f"version={n}/{where}": int(n) for n in folders(f"{keys.CAPTURE}version=")}
    for folder, version in captured.items():
        found = written_between(f"{keys.CAPTURE}{folder}", *hours)
        # A file that was written before has nothing that was made since.
        since = sorted((written, key) for key, written in found if written >= first)
        yield from (Predictions(folder + key, version) for _, key in since)


def kept(first: datetime, last: datetime) -> set[str]:
    """The keys of all that tells what was predicted from `first` to before `last`, by any version.

    Those are the files of the tables, and what was captured and is not collected into them yet, or
    not as a whole.
    """
    hour = timedelta(hours=1)
    days = f"day={first - hour:{DAY}}", f"day={last + hour:{DAY}}"
    tables = {table: {*between(table, *days)} for table in keys.COLLECTED}
    captured = {file.key: collected(file.key) for file in predictions(first, last)}
    waiting = {
        key: rows
        for key, rows in captured.items()
        if not all(rows <= found for found in tables.values())
    }
    again = {row for rows in waiting.values() for row in rows}
    return {f"{keys.CAPTURE}{key}" for key in waiting} | {
        f"{table}{key}"
        for table, found in tables.items()
        for key in found - again
        # What batches could not score was never predicted.
        if not key.endswith("/rejected.parquet")
    }


def collected(key: str) -> set[str]:
    """The files, below the prefix of each table, that the rows of a captured file go into.

    `usecase.predictions.collect` gives them these names.
    """
    hour = datetime.strptime("/".join(key.split("/")[-5:-1]), HOUR)  # noqa: DTZ007 - UTC
    name = key.removesuffix(".jsonl").replace("/", ".") + ".parquet"
    # What was captured at the end of an hour can be filed under the next one.
    return {f"day={time:{DAY}}/{name}" for time in (hour - timedelta(hours=1), hour)}


def versions(first: datetime, last: datetime) -> set[int | None]:
    """The versions with predictions that were made from `first` to before `last`."""
    found: set[int | None] = set()
    over: set[int | None] = set()
    for file in predictions(first, last):
        if file.version in found | over:
            continue
        oldest, newest = times_in(file.key)
        # A folder holds the predictions of a whole hour, and so those after the window's end. The
        # files that are written later hold later ones.
        if oldest >= last:
            over.add(file.version)
        # What is written right after the window has begun can all be from before.
        elif newest >= first:
            found.add(file.version)
    return found


def times_in(key: str) -> tuple[datetime, datetime]:
    """When the oldest and the newest prediction of a file were made, UTC.

    Where the file does not say they may be of any time.
    """
    found = s3().get_object(Bucket=os.environ["BUCKET"], Key=f"{keys.CAPTURE}{key}")
    times = []
    for line in found["Body"].iter_lines():
        try:
            time = datetime.fromisoformat(json.loads(line)["eventMetadata"]["inferenceTime"])
        except (KeyError, TypeError, ValueError):
            continue
        times.append(time if time.tzinfo else time.replace(tzinfo=UTC))
    if times:
        return min(times), max(times)
    return datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
