"""Read a data set that people bring, and find out what its columns hold."""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import polars as pl

from ops import OpsError
from ops.tables import read_table

#: What pandas reads as missing, and what else is written for it; compared in lower case.
MISSING = (
    *("", "?", "#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan"),
    *("<na>", "n/a", "na", "nan", "none", "null"),
)
#: Among numbers these are missing values too.
NO_NUMBER = (*("-", "--", ".", "*", "unknown", "missing", "not available", "nil", "不明"),)
#: So large a fraction of a column's values may be no number, or no date, in a column of them.
ODD_SHARE = 0.01

DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y"),
    *("%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y", "%d-%b-%Y", "%d %b %Y", "%b %d, %Y"),
)
TIMES = ("%H:%M", "%H:%M:%S", "%H:%M:%S%.f")
ZONES = ("", "Z", "%z", "%#z")

Settled = tuple[pl.Series, list[str]]
#: What a column holds once it is settled, in words.
WORDS = {
    pl.Int64: "a whole number",
    pl.Float64: "a number with decimals",
    pl.String: "text",
    pl.Date: "a date",
    pl.Datetime: "a time",
}


def read(file: Path, encoding: str | None = None) -> pl.DataFrame:
    """Read a table.

    Args:
        file: Parquet, a folder of Parquet files, or CSV as `ops.tables` reads it.
        encoding: That of a CSV file; by default UTF-8.

    Returns:
        The table; of a CSV file all columns are text.

    Raises:
        OpsError: When it is none of these, or has no rows.
    """
    if file.is_dir():
        table = read_folder(file)
    elif file.suffix.lower() in (".parquet", ".csv", ".tsv", ".txt"):
        table = read_table(file, encoding)
    else:
        raise OpsError(
            f"{file}: is no .parquet, .csv or .tsv file, and no folder of Parquet files; save the "
            "data as one of them"
        )
    table = table.filter(~pl.all_horizontal(pl.all().is_null()))
    if table.is_empty():
        raise OpsError(f"{file}: has no rows")
    return table


def read_folder(folder: Path) -> pl.DataFrame:
    """Read the Parquet files of a folder, and of the folders in it, as one table.

    A folder that is called `column=value`, as Spark and Athena write them, adds that column. What
    begins with a dot or an underscore is no data.

    Raises:
        OpsError: When there is none, one cannot be read, or they have not the same columns.
    """
    inside = {file: file.relative_to(folder).parts for file in sorted(folder.rglob("*.parquet"))}
    files = [file for file, parts in inside.items() if not any(p[0] in "._" for p in parts)]
    if not files:
        raise OpsError(f"{folder}: there is no .parquet file in it")
    tables, kinds = list[pl.DataFrame](), dict[str, tuple[str, Path]]()
    for file in files:
        try:
            hive = any("=" in part for part in inside[file][:-1])
            table = pl.read_parquet(file, hive_partitioning=hive)
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise OpsError(f"{file}: cannot be read: {reason}") from None
        table = table.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
        if odd := set(table.columns) ^ set(tables[0].columns if tables else table.columns):
            name = min(odd)
            has = "has a" if name in table.columns else "has no"
            raise OpsError(f"{file}: {has} column {name}, unlike {files[0]}; write them alike")
        for name, dtype in table.schema.items():
            kind, other = kinds.setdefault(name, (family(dtype), file))
            if dtype == pl.Null or kind == family(dtype):
                continue
            if kind != family(pl.Null()):
                raise OpsError(
                    f"{file}: {name} is {dtype}, and of another type in {other}; write them alike"
                )
            kinds[name] = family(dtype), file
        tables.append(table.select(tables[0].columns) if tables else table)
    return pl.concat(tables, how="vertical_relaxed")


def family(dtype: pl.DataType) -> str:
    """What types can be brought to a common one."""
    if isinstance(dtype, pl.Datetime):
        return f"times with zone {dtype.time_zone}"
    return "numbers" if dtype.is_numeric() else str(dtype)


def name(file: Path) -> str:
    """The folder of the data mart for a file, in which Athena finds a table of that name."""
    stem = file.resolve().stem.lower()
    return re.sub(r"[^a-z0-9]+", "_", stem).strip("_") or "records"


def own_encoding(file: Path, encoding: str | None) -> str | None:
    """The encoding of a file that is read beside others: UTF-8 where it can only be that.

    Args:
        file: CSV, or something else, which has none.
        encoding: That of the others.
    """
    if encoding is None or file.suffix.lower() == ".parquet" or not file.is_file():
        return None
    content = file.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeError:
        return encoding
    return encoding if content.isascii() else None


def settle(values: pl.Series) -> Settled:
    """Bring a column to what it holds.

    Returns:
        Whole numbers (Int64), numbers (Float64), dates, date-times (UTC), or text, null where a
        value is missing; and notes on what was done. Another type is returned as it is.
    """
    kind = values.dtype
    if kind.is_integer() or kind == pl.Boolean:
        whole = values.cast(pl.Int64, strict=False)
        exact = whole.null_count() == values.null_count()
        return (whole if exact else values.cast(pl.Float64)), []
    if kind.is_float() or kind.is_decimal():
        return finite(values.cast(pl.Float64))
    if isinstance(kind, pl.Duration):
        return values.dt.total_seconds(fractional=True), ["in seconds"]
    if isinstance(kind, pl.Datetime):
        if kind.time_zone:
            values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return values.cast(pl.Datetime("us")), []
    if isinstance(kind, pl.Categorical | pl.Enum | pl.Null):
        values = values.cast(pl.String)
    return settle_text(values) if values.dtype == pl.String else (values, [])


def settle_text(values: pl.Series) -> Settled:
    """Bring a column of text to what it holds."""
    values = as_text(values)
    if values.null_count() == len(values):
        return values, []
    if settled := number(values) or date(values):
        return settled
    unclear = values.str.contains(r"^[+-]?[\d.,]*\d$").all() and values.str.contains(",").any()
    notes = ["commas may group digits or be decimal points: write plain numbers"] * unclear
    return values.str.replace_all(r"\s+", " "), notes


def as_text(values: pl.Series) -> pl.Series:
    """Text without spaces around it, and null where a value is missing."""
    text = values.cast(pl.String).str.strip_chars()
    return text.set(text.str.to_lowercase().is_in(MISSING), None)


def finite(values: pl.Series) -> Settled:
    """Numbers, null for what is none or is infinite."""
    infinite = int(values.is_infinite().sum())
    notes = [f"{infinite} infinite, taken as missing"] if infinite else []
    return values.set(~values.is_finite(), None), notes


def number(text: pl.Series) -> Settled | None:
    """The numbers that text stands for, `None` when it does not."""
    if text.str.contains(r"^[+-]?0\d+$").any():
        return None  # 0120 is a code
    for candidate, note in spellings(text):
        numbers = candidate.cast(pl.Float64, strict=False)
        odd = text.filter(numbers.is_null() & text.is_not_null())
        marks = odd.filter(odd.str.to_lowercase().is_in(NO_NUMBER))
        found = numbers.drop_nulls().len()
        if not found or len(odd) - len(marks) > ODD_SHARE * found:
            continue
        notes = [note] * bool(note) + taken_as_missing(odd)
        whole = candidate.cast(pl.Int64, strict=False)
        if whole.drop_nulls().len() == found:
            return whole, notes
        numbers, more = finite(numbers)
        return numbers, notes + more
    return None


def spellings(text: pl.Series) -> Iterator[tuple[pl.Series, str]]:
    """The text as it is; without commas, where they can only group digits; as decimal points."""
    yield text, ""
    commas = text.filter(text.str.contains(",", literal=True))
    if commas.is_empty():
        return
    if not text.str.contains(r"^[+-]?\d{4,}").any():
        groups = commas.str.contains(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$")
        sure = commas.str.contains(r",.*[,.]|^[+-]?0,")
        if groups.all() and (sure.any() or text.str.contains(r"^[+-]?\d{1,3}\.\d").any()):
            yield text.str.replace_all(",", "", literal=True), "commas group digits"
            return
    decimals = commas.str.contains(r"^[+-]?\d+,\d+$")
    if decimals.all() and not commas.str.contains(r"^[+-]?[1-9]\d{0,2},\d{3}$").all():
        yield text.str.replace(",", ".", literal=True), "commas are decimal points"


def date(text: pl.Series) -> Settled | None:
    """The dates or date-times that text stands for, `None` when it does not."""
    present = text.drop_nulls()
    sample = present.gather_every(max(1, len(present) // 200))
    if not sample.str.contains(r"\d\D+\d").all():
        return None
    found: dict[str, pl.Series] = {}
    for pattern in patterns():
        if parse(sample, pattern).null_count() > ODD_SHARE * len(sample):
            continue
        parsed = parse(text, pattern)
        if parsed.null_count() - text.null_count() <= ODD_SHARE * len(present):
            found[pattern] = parsed
    if not found:
        return None
    first, *others = sorted(found.values(), key=lambda series: series.null_count())
    same = [series for series in others if series.null_count() == first.null_count()]
    if any(not series.equals(first, null_equal=True) for series in same):
        return text, ["day and month cannot be told apart: write dates as YYYY-MM-DD"]
    return first, taken_as_missing(text.filter(first.is_null() & text.is_not_null()))


def patterns() -> Iterator[str]:
    """How dates and date-times are written."""
    yield from DATES
    for day, separator, time, zone in product(DATES, " T", TIMES, ZONES):
        yield f"{day}{separator}{time}{zone}"


def parse(text: pl.Series, pattern: str) -> pl.Series:
    """Dates or date-times (UTC) of a form; null where text has another."""
    if "%H" not in pattern:
        days = text.str.to_date(pattern, strict=False)
        return days.set(~days.dt.year().is_between(1800, 2200), None)
    if pattern.endswith("z"):
        times = text.str.to_datetime(pattern, strict=False, time_unit="us", time_zone="UTC")
        times = times.dt.replace_time_zone(None)
    else:
        times = text.str.to_datetime(pattern, strict=False, time_unit="us")
    return times.set(~times.dt.year().is_between(1800, 2200), None)


def taken_as_missing(odd: pl.Series) -> list[str]:
    """A note on values that count as missing."""
    if odd.is_empty():
        return []
    examples = ", ".join(repr(value) for value in odd.unique(maintain_order=True).head(3))
    return [f"{len(odd)} taken as missing: {examples}"]
