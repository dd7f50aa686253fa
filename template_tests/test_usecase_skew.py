"""The features of what was asked are compared with those that the data mart gives now."""

from pathlib import Path

import polars as pl
import pytest

from usecase import features, inputs, skew, tables
from usecase.config import UseCase
from usecase.errors import UseCaseError

SOME = 20


@pytest.fixture(scope="module")
def records(mart: Path, use_case: UseCase) -> pl.DataFrame:
    """What the data mart gives now."""
    return features.build({name: tables.read(mart / name) for name in use_case.data.tables})


@pytest.fixture
def asked(records: pl.DataFrame, use_case: UseCase) -> pl.DataFrame:
    """What the predictions of some records were made of, as they are kept."""
    some = records[:SOME]
    kept = pl.DataFrame(inputs.typed(some, use_case)).cast(pl.String)
    return kept.with_columns(
        some[use_case.data.id].cast(pl.String).alias("inference_id"), row=pl.lit(0)
    )


def test_what_is_the_same_is_not_told(
    asked: pl.DataFrame, records: pl.DataFrame, use_case: UseCase
) -> None:
    found = skew.compare(asked, records, use_case)
    assert found == {"compared": SOME, "unknown": 0, "features": {}}


def test_how_often_and_by_how_much_features_differ(
    asked: pl.DataFrame, records: pl.DataFrame, use_case: UseCase
) -> None:
    number, text = use_case.features.numeric[0], use_case.features.categorical[0]
    place = pl.int_range(pl.len())
    more = (pl.col(number).cast(pl.Float64) + place * 2).cast(pl.String)  # the first is the same
    odd = asked.with_columns(
        pl.when(place < 5).then(more).otherwise(number).alias(number),
        pl.when(place > 0).then(pl.col(text)).alias(text),
    )
    found = skew.compare(odd, records, use_case)["features"]
    assert [*found] == [number, text]
    assert found[number]["differ"] == 4
    assert found[number]["fraction"] == 4 / SOME
    assert found[number]["mean_difference"] == (2 + 4 + 6 + 8) / 4
    assert found[number]["largest_difference"] == 8
    assert found[number]["missing_when_asked"] == 0
    assert (found[text]["differ"], found[text]["missing_when_asked"]) == (1, 1)
    example = {"id": asked["inference_id"][0], "asked": None, "mart": asked[text][0]}
    assert found[text]["example"] == example


def test_only_requests_about_one_known_record_are_compared(
    asked: pl.DataFrame, records: pl.DataFrame, use_case: UseCase
) -> None:
    place = pl.int_range(pl.len())
    identifier = pl.when(place < 3).then(pl.lit("three rows")).when(place == 5).then(pl.lit("new"))
    new = asked.with_columns(
        identifier.otherwise("inference_id").alias("inference_id"),
        row=pl.when(place < 3).then(place).otherwise(0),
    )
    found = skew.compare(new, records, use_case)
    assert (found["compared"], found["unknown"]) == (SOME - 4, 1)
    with pytest.raises(UseCaseError, match="none of 1 predictions is of a record in the data mart"):
        skew.compare(new.filter(pl.col("inference_id") == "new"), records, use_case)
