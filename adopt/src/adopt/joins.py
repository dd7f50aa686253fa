"""Join further tables to the records: each row of theirs is looked up by a key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from adopt import table
from adopt.columns import Column, literal, shorten
from ops import OpsError

Keys = Mapping[str, str]


@dataclass(frozen=True)
class Join:
    """A table to join, as `--join` names it.

    Attributes:
        file: Where it is.
        keys: Its key columns, by the columns of the records that hold the same.
    """

    file: Path
    keys: Keys

    @property
    def text(self) -> str:
        """The option's value, without the folder of the file."""
        pairs = self.keys.items()
        keys = (mine if mine == theirs else f"{mine}={theirs}" for mine, theirs in pairs)
        return f"{self.file.resolve().name}:{','.join(keys)}"


@dataclass(frozen=True)
class Joined:
    """A table that was joined.

    Attributes:
        table: The folder of the data mart.
        source: The file's name.
        keys: Its key columns, by the columns of the records that hold the same.
        rows: All of it.
    """

    table: str
    source: str
    keys: Keys
    rows: pl.DataFrame

    @property
    def columns(self) -> list[str]:
        """The columns that it brings."""
        return [name for name in self.rows.columns if name not in self.keys.values()]

    @property
    def code(self) -> str:
        """The call that joins it, to be appended to the records in features.py."""
        names = [[*map(literal, side)] for side in (self.keys, self.keys.values())]
        mine, theirs = (side[0] if len(side) == 1 else f"[{', '.join(side)}]" for side in names)
        by = f"on={mine}" if mine == theirs else f"left_on={mine}, right_on={theirs}"
        return f'.join(tables[{literal(self.table)}], {by}, how="left", validate="m:1")'


def parse(text: str) -> Join:
    """Read what `--join` is given: FILE:KEY, keys separated by commas, KEY=NAME of another name.

    Raises:
        OpsError: When it is something else, or the file is not there.
    """
    name, _, names = text.rpartition(":")
    pairs = [key.partition("=") for key in names.split(",")]
    keys = {mine.strip(): (theirs if equals else mine).strip() for mine, equals, theirs in pairs}
    if not name or not all(keys) or not all(keys.values()):
        raise OpsError(
            f"--join {text}: write FILE:KEY, such as movies.csv:movie_id, or "
            "movies.csv:movie_id=id where the key is called id in that file"
        )
    if not Path(name).exists():
        raise OpsError(f"--join {name}: there is no such file")
    return Join(Path(name), keys)


def join(
    found: dict[str, Column], asked: Join, source: str, encoding: str | None
) -> tuple[Joined, str]:
    """Join a table: its columns are added to those that are there.

    Args:
        found: The columns of the records; those of the table are added.
        asked: The table.
        source: Where the records come from, for messages.
        encoding: That of CSV files that are not UTF-8.

    Returns:
        The table, and how many of the records are in it, in words.

    Raises:
        OpsError: When a key is missing, empty, not unique or of another type; when a column is
            there already; when no record is in the table.
    """
    name = asked.file.resolve().name
    raw = table.read(asked.file, table.own_encoding(asked.file, encoding))
    check_columns(found, asked, source, raw.columns)
    settled = {column: table.settle(raw[column]) for column in raw.columns}
    rows = pl.DataFrame([values.alias(column) for column, (values, _) in settled.items()])
    for mine, theirs in asked.keys.items():
        check_types(found[mine].values, rows[theirs], source, name)
    keys = rows.select(*asked.keys.values())
    check_unique(keys, source, name)
    wanted = pl.DataFrame([found[mine].values.alias(key) for mine, key in asked.keys.items()])
    places = wanted.join(
        keys.with_row_index(""), on=keys.columns, how="left", maintain_order="left"
    )[""]
    matched, shown = len(places) - places.null_count(), " and ".join(asked.keys)
    if not matched:
        here, there = (" and ".join(map(shorten, part.row(0))) for part in (keys, wanted))
        raise OpsError(
            f"{name}: no row of {source} has a {shown} that is in it; here it is {here}, and there "
            f"{there}"
        )
    for key in asked.keys:
        found[key].key = True
    joined = Joined(table.name(asked.file), name, asked.keys, rows)
    for column in joined.columns:
        notes = [f"of {name}", *settled[column][1]]
        found[column] = Column(column, rows[column].gather(places), notes=notes)
    return joined, f"{name}: {matched / len(places):.2%} of the rows have their {shown} in it."


def check_columns(
    found: Mapping[str, Column], asked: Join, source: str, names: Sequence[str]
) -> None:
    """Check that the keys are there, and that no other column is on both sides.

    Raises:
        OpsError: When they are not, or one is.
    """
    for where, key, there in (
        *((source, mine, [*found]) for mine in asked.keys),
        *((asked.file.name, theirs, names) for theirs in asked.keys.values()),
    ):
        if key not in there:
            shown = ", ".join(there[:20]) + ", …" * (len(there) > 20)
            raise OpsError(f"--join {asked.file}: {where} has no column {key}; there are {shown}")
    if both := [name for name in names if name in found and name not in asked.keys.values()]:
        raise OpsError(
            f"{asked.file.name}: has columns that are there already: {', '.join(both)}; rename or "
            "remove them in one of the files"
        )
    if len(names) == len(asked.keys):
        raise OpsError(f"{asked.file.name}: has no column but its key; there is nothing to join")


def check_unique(keys: pl.DataFrame, source: str, name: str) -> None:
    """Check that each row has a key of its own.

    Raises:
        OpsError: When it has not.
    """
    shown = " and ".join(keys.columns)
    if empty := keys.filter(pl.any_horizontal(pl.all().is_null())).height:
        raise OpsError(f"{name}: {shown} is empty in {empty} rows; take them out")
    again = keys.filter(keys.is_duplicated())
    if again.height:
        example = " and ".join(map(shorten, again.row(0)))
        raise OpsError(
            f"{name}: {keys.height - keys.n_unique()} rows have a {shown} that another row has, "
            f"such as {example}; a row of {source} would become several: keep one row of each"
        )


def check_types(mine: pl.Series, theirs: pl.Series, source: str, name: str) -> None:
    """Check that the two sides of a key have the same type.

    Raises:
        OpsError: When they have not.
    """
    if mine.dtype == theirs.dtype:
        return
    here, there = (
        f"{table.WORDS.get(type(values.dtype), values.dtype)} such as {shorten(values[0])}"
        for values in (theirs.drop_nulls(), mine.drop_nulls())
    )
    raise OpsError(
        f"{name}: {theirs.name} is {here}, and {mine.name} of {source} is {there}; write both alike"
    )
