"""Which predictions there are, of an endpoint whose requests are captured."""

from datetime import datetime, timedelta

import polars as pl

from ops import aws
from usecase.config import UseCase
from usecase.predictions import capture, parquet
from usecase.predictions.collect import CAPTURE, files_of
from usecase.predictions.parquet import DAY_FOLDER, ID, TIME
from workflows import keys, names


def predicted(use_case: UseCase, since: datetime) -> dict[str, datetime]:
    """The inference ids of the predictions, of all versions, made since a time.

    Those of the table, and what is captured and not collected into it yet: a run of the monitors
    does that.

    Args:
        use_case: Names the columns.
        since: UTC.

    Returns:
        When each prediction was made, the last time that it was.
    """
    first = f"{since - timedelta(hours=1):{DAY_FOLDER}}"
    table = [*aws.keys(keys.PREDICTIONS, first)]
    collected = {key.removeprefix(keys.PREDICTIONS) for key in table}
    where, hour = f"{names.current().endpoint}/{names.VARIANT}/", f"{since:%Y/%m/%d/%H}"
    # What lies outside the folders of versions is from before there were any.
    places = [keys.CAPTURE, *folders(f"{keys.CAPTURE}version=")]
    captured = (key for place in places for key in aws.keys(f"{place}{where}", hour))
    waiting = (
        key
        for key in captured
        if not collected.issuperset(files_of(key.removeprefix(keys.CAPTURE)))
    )
    with aws.downloaded([*table, *waiting]) as folder:
        found = pl.concat(
            [
                parquet.made([folder], use_case),
                capture.made(folder / CAPTURE).select(ID, TIME).drop_nulls(),
            ]
        )
    made = found.filter(pl.col(TIME) >= since).group_by(ID).agg(pl.col(TIME).max())
    return dict(made.iter_rows())


def folders(prefix: str) -> list[str]:
    """The folders of the data bucket that begin with a prefix, which is in their names."""
    pages = aws.s3().get_paginator("list_objects_v2")
    return [
        found["Prefix"]
        for page in pages.paginate(Bucket=aws.bucket(), Prefix=prefix, Delimiter="/")
        for found in page.get("CommonPrefixes", [])
    ]
