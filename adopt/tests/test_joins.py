"""Several tables: joined by keys, brought again to a clone, or a folder of Parquet files."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from data_sets import ROWS, data

from adopt import files, joins, table
from adopt import project as adopted
from local import sample_data
from ops import OpsError
from usecase import config, prepare
from usecase.errors import UseCaseError
from usecase.tables import check

Adopt = Callable[..., str]
SHOPS: dict[str, list[Any]] = {
    "id": [1, 2, 3, 9],
    "city": ["Köln", "大阪", "Oslo", "Rome"],
    "area": [10.5, 20, 30, 40],
}
PEOPLE = {"who": ["a", "b"], "hired": ["2020-01-31", "2021-02-28"]}


def records() -> pl.DataFrame:
    """Records with two keys; one person and a fourth of the shops are in no table."""
    places = pl.int_range(ROWS, eager=True)
    return data().with_columns(
        shop=places % 4 + 1, seller=pl.Series(["a", "b", "c"]).gather(places % 3)
    )


@pytest.fixture
def tables(project: Path) -> list[str]:
    """Writes tables to join; returns the options that join them."""
    pl.DataFrame(SHOPS, strict=False).write_csv(project / "Shops.csv")
    pl.DataFrame(PEOPLE).write_parquet(project / "people.parquet")
    return [
        *("--join", f"{project}/Shops.csv:shop=id"),
        *("--join", f"{project}/people.parquet:seller=who"),
    ]


def built(project: Path) -> pl.DataFrame:
    """What the project makes of the history and its look-up tables."""
    use_case = config.load(project / "usecase.toml")
    parts = sample_data.parts(use_case.data.tables)
    mart = {name: pl.read_parquet(parts.file(name, "history")) for name in use_case.data.tables}
    check(mart, use_case.mart)
    return prepare.clean(adopted.build(adopted.FEATURES, mart), use_case)


def test_tables_are_looked_up_by_keys(run: Adopt, project: Path, tables: list[str]) -> None:
    shown = run(records(), "--time", "ordered at", *tables)
    assert "Shops.csv: 75.00% of the rows have their shop in it" in shown
    assert "people.parquet: 66.67% of the rows have their seller in it" in shown
    use_case = config.load(project / "usecase.toml")
    assert use_case.data.tables == ("my_data", "shops", "people") == (*use_case.mart,)
    shops, people = use_case.mart["shops"], use_case.mart["people"]
    assert (shops.unique, shops.number, shops.text) == (("id",), ("id", "area"), ("city",))
    assert (people.unique, people.text, people.time) == (("who",), ("who",), ("hired",))
    assert "shop" in use_case.mart["my_data"].number
    assert "seller" in use_case.mart["my_data"].text
    assert {"city", "shop"} <= {*use_case.features.categorical}
    assert {"area", "hired_age_in_days"} <= {*use_case.features.numeric}
    found = built(project)
    expected = {"1": "Köln", "2": "大阪", "3": "Oslo", "4": None}
    assert dict(found.select("shop", "city").unique().iter_rows()) == expected
    # Each part of the data has the tables whole.
    parts = sample_data.parts(use_case.data.tables)
    for part in (*parts.history, *parts.traffic):
        assert pl.read_parquet(parts.file("shops", part)).height == len(SHOPS["id"])


@pytest.mark.parametrize(
    ("columns", "given", "reason"),
    [
        (SHOPS, "", "write FILE:KEY, such as movies.csv:movie_id"),
        (SHOPS, ":", "write FILE:KEY, such as movies.csv:movie_id"),
        (SHOPS, ":store=id", "My data.csv has no column store; there are order no, "),
        (SHOPS, ":shop", "x.csv has no column shop; there are id, city, area"),
        (SHOPS | {"id": [1, 2, 2, 2]}, ":shop=id", "x.csv: 2 rows have a id that another row has"),
        (SHOPS | {"id": [1, 2, None, None]}, ":shop=id", "x.csv: id is empty in 2 rows"),
        (
            SHOPS | {"id": ["1", "2", "3", "A"]},
            ":shop=id",
            "x.csv: id is text such as 1, and shop of My data.csv is a whole number such as 1",
        ),
        (SHOPS | {"id": [11, 12, 13, 14]}, ":shop=id", "no row of My data.csv has a shop that is"),
        (
            {"id": [1, 2], "time": [3, 4], "seller": [5, 6]},
            ":shop=id",
            "x.csv: has columns that are there already: time, seller; rename",
        ),
        ({"shop": [1, 2]}, ":shop", "x.csv: has no column but its key"),
    ],
)
def test_a_table_that_cannot_be_joined_says_why(
    run: Adopt, project: Path, columns: dict[str, Any], given: str, reason: str
) -> None:
    file = project / "x.csv"
    pl.DataFrame(columns, strict=False).write_csv(file)
    with pytest.raises(OpsError) as refused:
        run(records(), "--join", f"{file}{given}")
    assert reason in str(refused.value)
    assert not (project / "data" / "parts.json").exists()


def test_what_is_asked_for_is_looked_for_in_the_right_file(
    run: Adopt, project: Path, tables: list[str]
) -> None:
    with pytest.raises(OpsError, match="--time hired: is in a table that is joined"):
        run(records(), "--time", "hired", *tables)
    with pytest.raises(OpsError, match=r"gone.csv: there is no such file"):
        run(records(), "--join", "gone.csv:shop")
    shutil.copy(project / "Shops.csv", project / "shops.csv")
    columns = pl.read_csv(project / "shops.csv").rename({"city": "c", "area": "a"})
    columns.write_csv(project / "shops.csv")
    with pytest.raises(OpsError, match="two files make a table called shops"):
        run(records(), *tables, "--join", f"{project}/shops.csv:shop=id")


@pytest.mark.parametrize("place", ["data/x/x.csv", "data/shops/x.csv", "data/x", "data"])
def test_a_table_is_not_written_to_where_one_is_read_from(
    run: Adopt, project: Path, place: str
) -> None:
    shops = pl.DataFrame(SHOPS, strict=False)
    file = project / place
    if file.suffix:
        file.parent.mkdir(parents=True)
        shops.write_csv(file)
    else:
        file.mkdir(parents=True)
        shops.write_parquet(file / "0.parquet")
    (project / "Shops.csv").write_text("seller,sold\na,1\nb,2\n")
    joined = ["--join", f"{project}/Shops.csv:seller", "--join", f"{file}:shop=id"]
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    with pytest.raises(OpsError, match=r"overlaps with data/\w+/, which this command replaces"):
        run(records(), *joined)
    assert before.items() <= {p: p.read_bytes() for p in project.rglob("*") if p.is_file()}.items()


def test_several_columns_can_be_a_key(run: Adopt, project: Path) -> None:
    prices = records().select("shop", "seller").unique().sort("shop", "seller")
    prices.with_row_index("price").write_csv(project / "prices.csv")
    assert "100.00% of the rows" in run(records(), "--join", f"{project}/prices.csv:shop,seller")
    prices.with_columns(seller=pl.lit("a"), p=1).write_csv(project / "prices.csv")
    with pytest.raises(OpsError, match="rows have a shop and seller that another row has, such as"):
        run(records(), "--join", f"{project}/prices.csv:shop,seller")


def test_only_files_that_are_not_utf8_have_the_encoding(tmp_path: Path) -> None:
    for encoding in ("utf-8", "cp1252"):
        (tmp_path / f"{encoding}.csv").write_bytes("city\nKöln\n".encode(encoding))
    (tmp_path / "plain.csv").write_bytes(b"city\nOslo\n")
    found = [
        table.own_encoding(tmp_path / f"{name}.csv", "cp1252")
        for name in ("utf-8", "cp1252", "plain")
    ]
    assert found == [None, "cp1252", "cp1252"]


def test_a_clone_gets_its_data_again(run: Adopt, project: Path, tables: list[str]) -> None:
    arguments = ["--time", "ordered at", *tables]
    run(records(), *arguments)
    tracked = [adopted.USE_CASE, adopted.FEATURES]
    # What the owner changes in them stays.
    adopted.FEATURES.write_text(f"{adopted.FEATURES.read_text()}\n# mine\n")
    before = [file.read_bytes() for file in tracked]
    made = built(project)
    shutil.rmtree(project / "data")
    shown = run(records(), *arguments, "--data-only")
    assert "of usecase.toml; it is unchanged" in shown
    assert [file.read_bytes() for file in tracked] == before
    assert built(project).equals(made)
    again = next(line for line in before[0].decode().splitlines() if "poe adopt" in line)
    assert again.endswith("--data-only")
    assert str(project) not in again


def test_data_that_usecase_toml_is_not_about_is_refused(
    run: Adopt, project: Path, tables: list[str]
) -> None:
    arguments = ["--time", "ordered at", "--data-only"]
    run(records(), *arguments[:-1], *tables)
    shutil.rmtree(project / "data")
    with pytest.raises(OpsError, match=r"data.tables are my_data, shops, people, these files make"):
        run(records(), *arguments)
    lacking, late = records().drop("time"), records().with_columns(time=pl.lit("late"))
    with pytest.raises(UseCaseError, match="my_data: number: there is no column time"):
        run(lacking, *arguments, *tables)
    with pytest.raises(UseCaseError, match="my_data: number: time is String"):
        run(late, *arguments, *tables)
    # An owner may take out what the tables must hold.
    sections = files.split(adopted.USE_CASE.read_text())
    kept = (text for name, text in sections.items() if not name.startswith("mart."))
    adopted.USE_CASE.write_text("".join(kept))
    with pytest.raises(OpsError, match=r"features.py: does not fit this data \(ColumnNotFound"):
        run(lacking, *arguments, *tables)
    with pytest.raises(UseCaseError, match=r"features.numeric: time_2 is String"):
        run(late, *arguments, *tables)
    assert not list((project / "data").iterdir())


def test_a_folder_of_parquet_files_is_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "orders"
    for year, values in {2024: [1, 2], 2025: [None, None], 2026: [2.5, 3.5]}.items():
        (folder / f"year={year}").mkdir(parents=True)
        pl.DataFrame({"x": values, "y": "a"}).write_parquet(folder / f"year={year}" / "0.parquet")
    (folder / "_SUCCESS").touch()
    (folder / "_temporary").mkdir()
    (folder / "_temporary" / "0.parquet").touch()
    found = table.read(folder)
    assert found.to_dict(as_series=False) == {
        "x": [1, 2, None, None, 2.5, 3.5],
        "y": ["a"] * 6,
        "year": [2024, 2024, 2025, 2025, 2026, 2026],
    }
    assert table.name(folder) == "orders"


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"x": [1]}, "1.parquet: has no column y, unlike .*0.parquet"),
        ({"x": [1], "y": ["a"], "z": [1]}, "1.parquet: has a column z, unlike .*0.parquet"),
        ({"x": ["1"], "y": ["a"]}, "1.parquet: x is String, and of another type in .*0.parquet"),
        (None, "1.parquet: cannot be read: "),
    ],
)
def test_a_folder_whose_files_do_not_fit_is_refused(
    tmp_path: Path, second: dict[str, Any] | None, reason: str
) -> None:
    with pytest.raises(OpsError, match=r"there is no .parquet file in it"):
        table.read(tmp_path)
    pl.DataFrame({"x": [1], "y": ["a"]}).write_parquet(tmp_path / "0.parquet")
    if second is None:
        (tmp_path / "1.parquet").write_bytes(b"no Parquet")
    else:
        pl.DataFrame(second).write_parquet(tmp_path / "1.parquet")
    with pytest.raises(OpsError, match=reason):
        table.read(tmp_path)


def test_a_join_is_written_as_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.touch()
    for text in (f"{file}:k", f"{file}:k,l=m"):
        assert joins.parse(text).text == text.removeprefix(f"{tmp_path}/")
