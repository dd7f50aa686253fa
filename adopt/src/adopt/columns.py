"""Say what each column of a data set is to the model."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, Protocol

import numpy.typing as npt
import polars as pl

from ops import OpsError
from ops.tables import INFERENCE_ID, spread
from usecase.config import RESERVED
from usecase.problem import PREDICTION

#: Text with more values, or with fewer rows to a value, is not a category.
CATEGORIES, ROWS_PER_CATEGORY = 255, 5
#: What becomes of text that is not a category.
OF_TEXT = "make what counts in it a number or a category in features.py"
#: A column of which less is present is left out.
LEAST_PRESENT = 0.01
#: Names of columns that identify a record.
ID_NAME = re.compile(r"(?i:^|[^a-z])(?i:id|key|uuid|guid)$|[a-z](Id|ID)$|番号$")
#: Leakage is looked for in so many rows, and in so many bins of a number.
SAMPLE, BINS = 20_000, 256
#: Columns that stand beside the features in requests, answers and tables of predictions.
TAKEN = RESERVED | {"day", "error", "model_version", "reason", "scored_at", PREDICTION}

#: How far towards a perfect score a feature may lead alone; beyond, it gives the target away.
LEAK = 0.97
#: More classes than these are not classes, and whole numbers of more values are amounts.
CLASSES, COUNTED = 100, 20

#: Text of so many characters, with spaces or in a script that needs none, is written by people.
LEAST_WRITTEN = 20
WRITTEN = re.compile(r"\S\s+\S+\s+\S|[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")

Kind = Literal["target", "id", "time", "number", "category", "text", "date", "left out"]
Score = Callable[[pl.DataFrame, pl.DataFrame], float]


@dataclass
class Column:
    """A column of the data set and what became of it.

    Attributes:
        name: As the file has it.
        values: What it holds.
        kind: What it is to the model.
        notes: What is worth knowing of it.
        key: Whether it is the key of a table that was joined: then it is no amount.
    """

    name: str
    values: pl.Series
    kind: Kind = "left out"
    notes: list[str] = field(default_factory=list)
    key: bool = False

    @property
    def missing(self) -> int:
        """How many values are missing."""
        return self.values.null_count()

    @property
    def distinct(self) -> int:
        """How many values there are, each counted once."""
        return self.values.drop_nulls().n_unique()


@dataclass(frozen=True)
class Feature:
    """An input of the model.

    Attributes:
        name: Its name in usecase.toml.
        column: The column it is made of, as the file has it.
        numeric: Whether it is a number; else a category or free text.
        code: The Polars expression that makes it; empty when the column is taken as it is.
        values: Its values.
        text: Whether it is free text.
    """

    name: str
    column: str
    numeric: bool
    code: str
    values: pl.Series
    text: bool = False


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes:
        values: The labels as the model learns them, null where one is missing.
        code: The Polars expression that makes them of the column, which it calls COLUMN.
        meaning: What the values are, in words.
        entries: Further entries of [target] in usecase.toml: value and comment of each key.
        notes: What is worth knowing of it.
    """

    values: pl.Series
    code: str
    meaning: str
    entries: Mapping[str, tuple[object, str]]
    notes: list[str]


class Problem(Protocol):
    """What differs between the kinds of problems: a module for each."""

    PROBLEM: str
    METRIC: str

    def look(self, values: pl.Series, /) -> Target:
        """Take a column for the target."""

    def score(self, table: pl.DataFrame, rest: pl.DataFrame, /) -> float:
        """How far the bins of a feature lead to a perfect score."""

    def no_skill(self, labels: npt.NDArray[Any], /) -> npt.NDArray[Any]:
        """What a model predicts that knows nothing."""

    def tuned(
        self, labels: npt.NDArray[Any], predictions: npt.NDArray[Any], /
    ) -> Mapping[str, tuple[object, str]]:
        """Entries of [target] that follow from predictions."""

    def watched(self, labels: npt.NDArray[Any], window: int, /) -> list[str]:
        """The metrics to monitor."""


def refuse(values: pl.Series, problem: str) -> NoReturn:
    """Say why a column cannot be the target of this project, and what it can be.

    Raises:
        OpsError: Always.
    """
    name, found = values.name, values.drop_nulls().unique(maintain_order=True)
    numeric = values.dtype.is_numeric()
    whole = numeric and bool((found == found.round()).all()) if numeric else False
    fits = []
    if len(found) == 2:
        fits.append("binary_classification")
    if 2 < len(found) <= (COUNTED if numeric else CLASSES) and (whole or values.dtype == pl.String):
        fits.append("multiclass_classification")
    if numeric and len(found) > 2:
        fits.append("regression")
    if not len(found):
        raise OpsError(
            f"{name}: is empty in all {len(values)} rows; there is nothing to learn from"
        )
    if len(found) == 1:
        raise OpsError(f"{name}: is {shorten(found[0])} in all rows; there is nothing to learn")
    what = f"{name}: has {len(found)} values such as {shorten(found[0])} and {shorten(found[1])}"
    if not fits:
        raise OpsError(f"{what}, which are neither numbers nor at most {CLASSES} classes")
    raise OpsError(
        f"{what}, which is not {problem}; change the project's answer with `uvx copier update "
        f"--data problem_type={fits[-1]}`, then adopt again"
    )


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Names of letters, digits and underscores, for use in requests, SQL and XGBoost alike.

    No two differ in upper and lower case only, which SQL would take for the same.
    """
    taken = set(TAKEN)
    plain: dict[str, str] = {}
    for name in names:
        stem = re.sub(r"\W+", "_", name).strip("_") or "column"
        candidate, number = stem, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{stem}_{number}"
        taken.add(candidate.lower())
        plain[name] = candidate
    return plain


def is_identifier(column: Column, *, by_name: bool) -> bool:
    """Whether a column has another value in each row, because it names the row.

    Args:
        column: Text or whole numbers; nothing else names rows.
        by_name: Believe it only of a name like `customer_id`; otherwise numbers that count the
            rows and text that hardly ever comes twice will do too.
    """
    values = column.values
    if values.dtype not in (pl.String, pl.Int64):
        return False
    present = len(values) - column.missing
    share = column.distinct / max(1, present)
    if by_name or values.dtype == pl.Int64:
        named = bool(ID_NAME.search(column.name))
        counts = values.dtype == pl.Int64 and bool((values.diff().drop_nulls() == 1).all())
        return share == 1 and (named or (counts and not by_name))
    return share > 0.9


def record_id(columns: Iterable[Column]) -> str | None:
    """The one column that identifies the records, `None` when none does, or several may."""
    found = [
        column.name
        for column in columns
        if is_identifier(column, by_name=True)
        and not column.missing
        and column.values.cast(pl.String).str.contains(INFERENCE_ID).all()
    ]
    return found[0] if len(found) == 1 else None


def is_written(column: Column) -> bool:
    """Whether a column has free text: most of its values are sentences, or parts of them."""
    texts = column.values.drop_nulls()
    if texts.dtype != pl.String or not len(texts):
        return False
    of_people = (texts.str.len_chars() >= LEAST_WRITTEN) & texts.str.contains(WRITTEN.pattern)
    return int(of_people.sum()) > len(texts) / 2


def features(
    column: Column, name: str, time: tuple[str, pl.Series] | None, *, takes_text: bool
) -> Iterator[Feature]:
    """What the model sees of a column; sets its kind, and notes why it is left out.

    Args:
        column: The column.
        name: Its plain name.
        time: Plain name and values of the records' time; `None` when it was made up.
        takes_text: Whether the project's model takes free text.
    """
    values, rows = column.values, len(column.values)
    distinct, present = column.distinct, rows - column.missing
    code = ""
    if column.key and values.dtype.is_numeric():
        values, code = values.cast(pl.String), f"pl.col({literal(name)}).cast(pl.String)"
    if not present:
        column.notes.append("empty")
    elif distinct == 1 and not column.missing:
        column.notes.append(f"constant: {shorten(values[0])}")
    elif present < LEAST_PRESENT * rows:
        column.notes.append(f"present in less than {LEAST_PRESENT:.0%} of the rows")
    elif not is_category(column) and is_written(column):
        if not takes_text:
            column.notes.append(f"free text: {OF_TEXT}")
            return
        column.kind = "text"
        yield Feature(name, column.name, numeric=False, code="", values=values, text=True)
    elif is_identifier(column, by_name=False):
        column.notes.append(
            "identifies rows" if distinct == present else f"text, hardly ever twice: {OF_TEXT}"
        )
    elif values.dtype.is_numeric():
        column.kind = "number"
        yield Feature(name, column.name, numeric=True, code="", values=values)
    elif values.dtype == pl.String:
        if not is_category(column):
            column.notes.append(too_many(column))
            return
        column.kind = "category"
        yield Feature(name, column.name, numeric=False, code=code, values=values)
    elif isinstance(values.dtype, pl.Date | pl.Datetime):
        column.kind = "date"
        yield from date_features(column, name, time)
    else:
        column.notes.append(f"{values.dtype}: no number, text or date")


def is_category(column: Column) -> bool:
    """Whether text has few enough values to be a category."""
    present = len(column.values) - column.missing
    return column.distinct <= CATEGORIES and present >= ROWS_PER_CATEGORY * column.distinct


def too_many(column: Column) -> str:
    """Why text, or a key, is not a category."""
    if column.key:
        return "a key of too many values for a category"
    return f"text of too many values for a category: {OF_TEXT}"


def date_features(
    column: Column, name: str, time: tuple[str, pl.Series] | None
) -> Iterator[Feature]:
    """The age of a date at the time of the record; its year and month when there is no time."""
    days = column.values.cast(pl.Date)
    code = f"pl.col({literal(name)})"
    if time:
        age = (time[1].cast(pl.Date) - days).dt.total_days()
        code = f"(pl.col({literal(time[0])}).cast(pl.Date) - {code}.cast(pl.Date)).dt.total_days()"
        made = {"age_in_days": (code, age)}
    else:
        made = {
            "year": (f"{code}.dt.year()", days.dt.year()),
            "month": (f"{code}.dt.month()", days.dt.month()),
        }
    for suffix, (expression, values) in made.items():
        if values.n_unique() > 1:
            column.notes.append(f"as {name}_{suffix}")
            yield Feature(f"{name}_{suffix}", column.name, True, expression, values)


def time_features(column: Column, name: str) -> Iterator[Feature]:
    """Hour and weekday of the record's time, where they differ."""
    code = f"pl.col({literal(name)}).dt"
    made = {}
    if column.values.dt.day().n_unique() > 1:  # else only the month is told, or the year
        made["weekday"] = column.values.dt.weekday()
    if isinstance(column.values.dtype, pl.Datetime):
        made["hour"] = column.values.dt.hour()
    for part, values in made.items():
        if values.n_unique() > 1:
            column.notes.append(f"as {name}_{part}")
            yield Feature(
                f"{name}_{part}", column.name, numeric=True, code=f"{code}.{part}()", values=values
            )


def leaks(candidates: Iterable[Feature], truth: pl.Series, score: Score) -> dict[str, float]:
    """How much each feature alone tells about the target.

    What the target is in each bin of the feature is learnt from every other row of a sample, and
    tried on the rest.

    Args:
        candidates: The features.
        truth: The target.
        score: Takes a table with `bin` and `truth` to learn from and one to try on; 1 is all.

    Returns:
        The score of each feature, by its name.
    """
    scores = {}
    for feature in candidates:
        table = spread(pl.DataFrame({"bin": feature.values, "truth": truth}), SAMPLE)
        bins = max(2, min(BINS, table.height // 20))
        if feature.numeric and table["bin"].n_unique() > bins:
            place = (pl.col("bin").rank("max") - 1) * bins // pl.col("bin").count()
            table = table.with_columns(place.alias("bin"))
        scores[feature.name] = score(table.gather_every(2), table.gather_every(2, 1))
    return scores


def learnt(table: pl.DataFrame, rest: pl.DataFrame, guess: pl.Expr) -> pl.DataFrame:
    """Add to rows what the target is in their bin of a table: the column `guess`."""
    bins = table.group_by("bin").agg(guess.alias("guess"))
    overall = table.select(guess.alias("guess")).item()
    return rest.join(bins, on="bin", how="left", nulls_equal=True).with_columns(
        pl.col("guess").fill_null(overall)
    )


def repeated(columns: Iterable[pl.Series]) -> int:
    """How many rows are there before, alike in all columns."""
    table = pl.DataFrame([*columns])
    return table.height - table.hash_rows(seed=0).n_unique()


def literal(value: object) -> str:
    """A value as Python source, in the quotes that the formatter wants."""
    if not isinstance(value, str):
        return repr(value)
    plain = (
        c if c != "\\" and ((c.isascii() and c.isprintable()) or c.isalnum()) else "" for c in value
    )
    text = "".join(
        shown or c.encode("unicode_escape").decode() for shown, c in zip(plain, value, strict=True)
    )
    if '"' in text and "'" not in text:
        return f"'{text}'"
    return '"{}"'.format(text.replace('"', '\\"'))


def shorten(value: object) -> str:
    """A value for a note."""
    text = str(value)
    return text if len(text) <= 30 else f"{text[:29]}…"
