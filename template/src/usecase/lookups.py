"""Look-up tables: what training knows of keys, such as customers or routes, beyond a request.

They travel with a version, in its model.tar.gz: Parquet, which runs no code when it is read.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import polars as pl

from usecase import container
from usecase.errors import UseCaseError

KNOWN_FROM = "known_from"
INDEX = "lookups.json"
_ROW, _TIME = "_row", "_time"
FEW = 100  # rows; for so many, looking for their keys first is quicker


class Lookup:
    """What was known of each key at any time: a look-up never sees what became known later.

    Attributes:
        key: The columns that identify what the table is about.
        table: These, `known_from`, and the values that are known from that time on. Those before it
            hold until then. Sorted; UTC without a zone.
    """

    def __init__(self, table: pl.DataFrame, key: Sequence[str]) -> None:
        """Make a look-up of a table.

        Args:
            table: The columns of the key, `known_from`, a date or a datetime, and the values. Rows
                without their key or without that time are left out: nobody can ask for them.
            key: The columns of the key; a row with other values in them never sees these.
        """
        self.key = [*key]
        known = table.with_columns(utc(table[KNOWN_FROM])).drop_nulls([*key, KNOWN_FROM])
        self.table = known.sort(*key, KNOWN_FROM, maintain_order=True)
        places = self.table.with_row_index(_ROW).group_by(key, maintain_order=True)
        spans = places.agg(pl.col(_ROW).first(), length=pl.len())
        self._places = {row[:-2]: row[-2:] for row in spans.iter_rows()}

    def known_at(self, rows: pl.DataFrame, time: str) -> pl.DataFrame:
        """Add to rows what was known of their keys at their times.

        Args:
            rows: With the columns of the key.
            time: The column with the time of each row, a date or a datetime.

        Returns:
            The rows in their order, with the values as columns; missing where nothing was known.
        """
        known = self._of(rows) if rows.height <= FEW else self.table
        asked = rows.with_columns(utc(rows[time]).alias(_TIME)).with_row_index(_ROW).sort(_TIME)
        # Within a key they are sorted, which Polars cannot check.
        found = asked.join_asof(
            known, left_on=_TIME, right_on=KNOWN_FROM, by=self.key, check_sortedness=False
        )
        return found.sort(_ROW).drop(_ROW, _TIME, KNOWN_FROM)

    def _of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The part of the table that is about the keys of some rows."""
        keys = set(rows.select(self.key).iter_rows())
        found = (self.table.slice(*self._places[key]) for key in keys if key in self._places)
        return pl.concat([self.table.clear(), *found])


def utc(times: pl.Series) -> pl.Series:
    """Dates or datetimes as datetimes in UTC, without a zone."""
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone:
        times = times.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return times.cast(pl.Datetime("us"))


def write(lookups: Mapping[str, Lookup], folder: Path) -> None:
    """Write look-ups into a folder: `lookups.json` with their keys, `lookup-<name>.parquet`.

    Raises:
        UseCaseError: When the name of one cannot be that of a file.
    """
    for name, lookup in lookups.items():
        if not name.isidentifier():
            raise UseCaseError(
                f"features.lookups: {name!r} cannot be the name of a file; take letters, digits "
                "and _"
            )
        container.write(_path(folder, name), partial(lookup.table.write_parquet))
    container.write_json(folder / INDEX, {name: lookup.key for name, lookup in lookups.items()})


def read(folder: Path) -> dict[str, Lookup]:
    """Read the look-ups that `write` has written.

    Raises:
        UseCaseError: When there are none, or one is not a look-up.
    """
    if not (folder / INDEX).exists():
        raise UseCaseError(
            f"{folder}: has no {INDEX}: it was trained without [request] in usecase.toml; train "
            "a new version"
        )
    found = {}
    for name, key in container.read_json(folder / INDEX).items():
        try:
            found[name] = Lookup(pl.read_parquet(_path(folder, name)), key)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UseCaseError(f"{folder}: {name} is not a look-up: {error}") from None
    return found


def _path(folder: Path, name: str) -> Path:
    return folder / f"lookup-{name}.parquet"
