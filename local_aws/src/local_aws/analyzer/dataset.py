"""The data to be analysed, as one table of text in DuckDB."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from local_aws.analyzer import records, scripts
from local_aws.analyzer.records import Captured, Row
from local_aws.analyzer.settings import AnalysisError, Settings

LABEL = "groundTruthData"
"""Column of the label that was merged in."""

_SIDES = ("endpointOutput", "endpointInput")  # in the order of their columns, as Model Monitor has


class Dataset:
    """A table `data` whose columns are all text; a value that is missing is null.

    Its columns are c0, c1 and so on there.

    Attributes:
        size: Number of rows.
    """

    def __init__(self, db: duckdb.DuckDBPyConnection, columns: list[str]) -> None:
        self._db = db
        self._places = {name: f"c{place}" for place, name in enumerate(columns)}
        self.size: int = self.row("select count(*) from data")[0]

    @property
    def columns(self) -> list[str]:
        """Names of its columns, in order."""
        return list(self._places)

    def rows(self, query: str, *values: object, column: str = "") -> list[tuple[Any, ...]]:
        """Return what a query finds; `{column}` in it stands for the column of this name."""
        query = query.replace("{column}", self._places.get(column, ""))
        return self._db.execute(query, list(values)).fetchall()

    def row(self, query: str, *values: object, column: str = "") -> tuple[Any, ...]:
        """Return the first row that a query finds."""
        return self.rows(query, *values, column=column)[0]

    def drop(self, unwanted: Sequence[str]) -> None:
        """Leave out columns, by their names or numbers.

        Raises:
            AnalysisError: There is no such column, or none would be left.
        """
        places = {str(place): name for place, name in enumerate(self.columns)}
        names = {places.get(column, column) for column in unwanted}
        if unknown := names - {*self.columns}:
            raise AnalysisError(f"exclude_features_attribute: there is no column {min(unknown)!r}")
        if len(names) == len(self.columns):
            raise AnalysisError("exclude_features_attribute: no column is left")
        for name in names:
            del self._places[name]

    def values(self, column: str) -> list[str | None]:
        """Return a column, in the order of the rows."""
        return [row[0] for row in self.rows("select {column} from data", column=column)]


def read(settings: Settings, baseline: Sequence[str] = ()) -> Dataset:
    """Read the data in the format that the settings name.

    Args:
        settings: The analyzer's settings.
        baseline: Names of the baseline's features, in order. Columns of captured CSV have no names:
            they get these, answers before requests, as in Model Monitor's examples of baselines.

    Raises:
        AnalysisError: There is no data, or it is not in the format.
    """
    name, options = settings.dataset_format
    if not any(path.is_file() for path in settings.source.rglob("*")):
        raise AnalysisError(f"dataset_source: there is no file in {settings.source}")
    if name in ("sagemakerCaptureJson", "sagemakerMergeJson"):
        sides = options.get("captureIndexNames", list(_SIDES))
        return _without(_table(_captured(settings, sides, baseline)), settings)
    if settings.get("record_preprocessor_script"):
        raise AnalysisError(
            "record_preprocessor_script: the local AWS runs it for captured records only, not for "
            f"the dataset_format {name!r}"
        )
    readers = {"csv": _csv, "json": _json, "parquet": _parquet}
    if name not in readers:
        raise AnalysisError(f"dataset_format: {name!r} is not known; take csv, json or parquet")
    try:
        return _without(readers[name](settings.source, options), settings)
    except (duckdb.Error, ValueError) as error:
        raise AnalysisError(f"dataset_source: is not {name}: {error}") from None


def _without(data: Dataset, settings: Settings) -> Dataset:
    """Leave out the columns of `exclude_features_attribute`, which has names or numbers."""
    excluded = settings.get("exclude_features_attribute")
    data.drop([name.strip() for name in excluded.split(",") if name.strip()])
    return data


def _files(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.rglob("*")) if path.is_file()]


def _csv(folder: Path, options: dict[str, Any]) -> Dataset:
    header = bool(options.get("header", True))
    files = _files(folder)
    names, *others = (_first_row(path) for path in files)
    if header and any(other != names for other in others):
        raise ValueError("the files have different headers")
    if not header:
        names = [f"_c{place}" for place in range(len(names))]
    return _load(files, names, header=header)


def _first_row(path: str) -> list[str]:
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        return next(csv.reader(file), [])


def _load(files: list[str], names: Sequence[str], *, header: bool) -> Dataset:
    """Load CSV whose columns are known: nothing is left to DuckDB's guesses."""
    if not names or len({*names}) < len(names):
        raise ValueError(f"there are no columns, or several of one name: {list(names)}")
    db = duckdb.connect()
    # By number: DuckDB takes names that differ in case alone for the same.
    columns = {f"c{place}": "VARCHAR" for place in range(len(names))}
    query = (
        "create table data as from read_csv(?, columns = ?, header = ?, auto_detect = false, "
        """delim = ',', quote = '"', escape = '"', nullstr = '', allow_quoted_nulls = true)"""
    )
    db.execute(query, [files, columns, header])
    return Dataset(db, list(names))


def _parquet(folder: Path, _options: dict[str, Any]) -> Dataset:
    db = duckdb.connect()
    query = "create table given as select cast(columns(*) as varchar) from read_parquet(?)"
    db.execute(query, [_files(folder)])
    names = [row[0] for row in db.execute("describe given").fetchall()]
    numbered = ", ".join(f"c{place}" for place in range(len(names)))
    db.execute(
        "create table data as select * from given as given(NAMES)".replace("NAMES", numbered)
    )
    return Dataset(db, names)


def _json(folder: Path, _options: dict[str, Any]) -> Dataset:
    return _table(
        [row for path in _files(folder) for row in records.json_rows(Path(path).read_text())]
    )


def _captured(settings: Settings, sides: Sequence[str], baseline: Sequence[str]) -> list[Row]:
    start, end = settings.window()
    rows: list[Row] = []
    broken = 0
    own = scripts.preprocessor(settings)
    for line in records.read(settings.source):
        time = line.time
        if time and ((start and time < start) or (end and time >= end)):
            continue
        try:
            captured = line.record["captureData"]
            wanted = [side for side in _SIDES if side in sides and side in captured]
            parts = [own(line)] if own else [line.rows(side) for side in wanted]
            rows += _joined(line, parts, baseline)
        except (ValueError, KeyError, TypeError):
            broken += 1
    if broken:
        print(f"left out {broken} captured records that cannot be read")
    return rows


def _joined(line: Captured, parts: list[list[Row]], baseline: Sequence[str]) -> list[Row]:
    """Return the rows of a record, its sides (answer first) beside each other.

    Answers are left out when the baseline is one of requests alone: when it has as many columns as
    the request, or knows none of the answer's names.
    """
    if len(parts) == 2 and baseline and parts[1]:
        answer, request = (list(part[0]) if part else [] for part in parts)
        positional = all(name.startswith("_c") for name in request)
        alone = len(request) == len(baseline) if positional else not {*answer} & {*baseline}
        parts = parts[1:] if alone else parts
    if len({len(part) for part in parts}) != 1:
        raise ValueError("requests and answers have different numbers of rows")
    label = line.record.get("groundTruthData")
    joined = []
    for row in zip(*parts, strict=True):
        merged: Row = {}
        place = 0
        for part in row:
            for name, value in part.items():
                if name.startswith("_c") and name[2:].isdigit():
                    known = not label and place < len(baseline)
                    merged[baseline[place] if known else f"_c{place}"] = value
                else:
                    merged[name] = value
                place += 1
        if label:
            merged[LABEL] = str(label["data"]).strip()
        joined.append(merged)
    return joined


def _table(rows: Iterable[Row]) -> Dataset:
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise AnalysisError("dataset_source: there is no record of the window in it")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerows([row.get(name) for name in names] for row in rows)
        return _load([str(path)], names, header=False)
