"""What is read of the predictions that were made, and what is not."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

#: Why something that was kept is not judged.
UNREADABLE = "unreadable"  # no JSON or CSV, or not encoded as it says
INCOMPLETE = "incomplete"  # without its request, its answer, its id or its time
MISTIMED = "mistimed"  # its time is not that of the folder that it is in
UNVERSIONED = "unversioned"  # in a folder that names no version
OTHER_FIELDS = "other_fields"  # rows that do not have the model's fields
UNANSWERED = "unanswered"  # not rows with a prediction each

#: Where else a prediction is than among those that are judged.
EARLIER, LATER, OTHER_VERSION, DROPPED = "earlier", "later", "other_version", "dropped"


@dataclass(frozen=True)
class Window:
    """Which predictions are judged.

    Attributes:
        version: Those of this version of the model; empty for all.
        start: Those from then on, with a time zone; `None` for all.
        end: Those before then, with a time zone; `None` for all.
    """

    version: str = ""
    start: datetime | None = None
    end: datetime | None = None

    @property
    def hours(self) -> float | None:
        """How long it is, `None` when it has no begin or no end."""
        if self.start is None or self.end is None:
            return None
        return (self.end - self.start).total_seconds() / 3600

    def place(self, first: pl.Expr, last: pl.Expr) -> pl.Expr:
        """Whether a span of time is earlier or later than the window; null when it is in it.

        Args:
            first: When it begins.
            last: When it ends.
        """
        earlier = last < self.start if self.start else pl.lit(value=False)
        later = first >= self.end if self.end else pl.lit(value=False)
        return pl.when(earlier).then(pl.lit(EARLIER)).when(later).then(pl.lit(LATER))


#: Everything there is.
ALL = Window()


@dataclass(frozen=True)
class Reading:
    """What was read.

    Attributes:
        rows: The predictions of the version within the window, a row per record, in order of time:
            `inference_id`, `time` (UTC), `row` (its place in the request, from 0) and `prediction`.
        features: Their features as text, null where missing, row by row; and further fields that
            requests had.
        read: So many events, or records, they are of.
        dropped: How many others, of the same version and time, could not be read, by reason.
        examples: For some reasons an example, in words.
        others: `inference_id` and `where` of the predictions that are not judged.
    """

    rows: pl.DataFrame
    features: pl.DataFrame
    read: int
    dropped: Mapping[str, int]
    examples: Mapping[str, str]
    others: pl.DataFrame


def version_of(file: str) -> str | None:
    """The version that a path names by a folder `version=<N>`."""
    found = re.search(r"(?:^|/)version=([^/]+)/", file)
    return found[1] if found else None


def hour_of(file: str) -> datetime | None:
    """The hour that a path names by its last folders, `yyyy/mm/dd/hh`."""
    found = re.search(r"(?:^|/)(\d{4}/\d\d/\d\d/\d\d)/[^/]+$", file)
    if not found:
        return None
    try:
        return datetime.strptime(found[1], "%Y/%m/%d/%H").replace(tzinfo=UTC)
    except ValueError:
        return None
