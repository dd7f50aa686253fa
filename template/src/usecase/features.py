"""The features. This file is yours: replace it with what your use case needs.

What the model sees of the columns that `build` returns is listed in usecase.toml.
"""

from collections.abc import Mapping

import polars as pl

LATE_MINUTES = 15


def build(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Make one row per record of the tables of the data mart.

    Args:
        tables: The tables that usecase.toml lists under `data.tables`, by name.

    Returns:
        A row per flight that arrived, with the columns that usecase.toml names: the id, the time,
        the features and the target. Further columns are ignored.
    """
    date = pl.date("year", "month", "day")
    flights = (
        tables["flights"]
        .filter(pl.col("arr_delay").is_not_null())  # cancelled and diverted flights have none
        .with_columns(
            date=date,
            scheduled_departure=pl.datetime("year", "month", "day", "hour", "minute"),
            weekday=date.dt.weekday(),
            late=(pl.col("arr_delay") > LATE_MINUTES).cast(pl.Int8),
        )
    )
    # How late the carrier's flights on this route were yesterday; 0 when there was none.
    route = ["carrier", "origin", "dest", "date"]
    yesterday = flights.group_by(route).agg(delay_yesterday=pl.col("arr_delay").median())
    yesterday = yesterday.with_columns(pl.col("date").dt.offset_by("1d"))
    weather = tables["weather"].select(
        "origin", "time_hour", precipitation="precip", visibility="visib"
    )
    return (
        flights.join(yesterday, on=route, how="left", validate="m:1")
        .with_columns(pl.col("delay_yesterday").fill_null(0.0))
        .join(weather, on=["origin", "time_hour"], how="left", validate="m:1")
    )
