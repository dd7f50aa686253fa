"""A data set to adopt, and what becomes of it."""

import importlib
import runpy
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from adopt.project import FEATURES
from local import sample_data, tools
from usecase import config, prepare, tables
from usecase.config import UseCase

PROBLEM_TYPE = str(tools.answers()["problem_type"])
examples = importlib.import_module(f"examples_{PROBLEM_TYPE}")
ROWS = 600


def data(rows: int = ROWS) -> pl.DataFrame:
    """A data set with all that makes data sets hard."""
    random = np.random.default_rng(3)
    numbers, group = (
        random.normal(size=(2, rows)),
        random.choice(["north", "süd, 1", 'the "O"'], rows),
    )
    target = examples.adopted(numbers[0] + 0.5 * numbers[1] + 0.5 * (group == "north"))
    leak = {value: place + 0.25 for place, value in enumerate(sorted(set(target)))}
    hours = pl.datetime_range(datetime(2024, 1, 1), datetime(2025, 6, 1), "3h", eager=True)  # noqa: DTZ001 - UTC
    return pl.DataFrame(
        {
            "order no": [f"N-{n:05}" for n in random.permutation(rows)],
            "ordered at": hours.head(rows).dt.strftime("%d.%m.%Y %H:%M"),
            "価格 (円)": [
                "?" if n % 50 == 0 else str(round(x, 3)) for n, x in enumerate(numbers[0])
            ],
            "time": numbers[1].round(3),
            'a "quoted", name': group,
            "born": [f"{1950 + n % 50}-0{1 + n % 9}-01" for n in range(rows)],
            "made of the target": [leak[value] for value in target],
            "constant": "x",
            "empty": pl.Series([None] * rows, dtype=pl.String),
            "remark": [f"remark {n}" for n in range(rows)],
            "the target?": target,
        }
    )


def load(project: Path) -> tuple[UseCase, pl.DataFrame]:
    """The use case, and what `prepare` makes of all its data."""
    use_case = config.load(project / "usecase.toml")
    build = runpy.run_path(str(project / FEATURES))["build"]
    (name,) = use_case.data.tables
    parts = sample_data.parts(use_case.data.tables)
    names = [*parts.history, *parts.traffic]
    files = [project / "data" / name / f"{part}.parquet" for part in names]
    mart = {name: pl.concat(map(pl.read_parquet, files))}
    tables.check(mart, use_case.mart)
    return use_case, prepare.clean(build(mart), use_case)
