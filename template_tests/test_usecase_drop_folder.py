"""Labels that were put into the drop folder, as the process that the job runs finds them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.examples import LABELS
from support.image import label, write_lines

from usecase import config
from usecase.errors import UseCaseError
from usecase.monitors import drop_folder, labels
from usecase.tables import read_objects

USE_CASE = config.load()
ID, TARGET = USE_CASE.data.id, USE_CASE.target.column
NOON = "2026-01-15T12:34:56+00:00"
LONG = "1582218195625938945"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with what the job was given."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    (tmp_path / "files" / "labels").mkdir(parents=True)
    return tmp_path / "files"


def gathered(files: Path, **written: str) -> tuple[labels.Labels, list[str]]:
    """The labels of files of the drop folder, by name with `_` for the dot."""
    arrived = {f"labels/{name.replace('_', '.')}": time for name, time in written.items()}
    folder, odd = drop_folder.gather(files, "ground-truth/", arrived, USE_CASE)
    return labels.read_labels(folder, USE_CASE), odd


def write(file: Path, rows: pl.DataFrame) -> None:
    formats: dict[str, Callable[[Path], object]] = {
        ".csv": rows.write_csv,
        ".jsonl": rows.write_ndjson,
        ".parquet": rows.write_parquet,
    }
    formats[file.suffix](file)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_each_format_gives_the_same_labels(files: Path, suffix: str) -> None:
    rows = pl.DataFrame({ID: [LONG, "b"], "row": [3, None], TARGET: LABELS[:2], "other": [1, 2]})
    write(files / "labels" / f"truth.{suffix}", rows)
    found, odd = gathered(files, **{f"truth_{suffix}": NOON})
    assert odd == []
    assert found.table.select("inference_id", "row", TARGET).rows() == [
        (LONG, 3, LABELS[0]),
        ("b", None, LABELS[1]),
    ]
    assert {f"{time:%Y-%m-%d %H:%M}" for time in found.table["filed"]} == {"2026-01-15 12:00"}


def test_labels_of_both_ways_are_one_and_the_last_counts(files: Path) -> None:
    """What repeats or contradicts another label of its record is counted."""
    earlier = [label(name, LABELS[0]) for name in ("same", "other", "alone")]
    write_lines(files / "ground-truth" / "2026/01/15/11" / "a.jsonl", earlier)
    rows = pl.DataFrame({ID: ["same", "other"], TARGET: LABELS[:2]})
    write(files / "labels" / "truth.csv", rows)
    found, odd = gathered(files, truth_csv=NOON)
    assert odd == []
    table = dict(found.table.select("inference_id", TARGET).iter_rows())
    assert table == {"alone": LABELS[0], "same": LABELS[0], "other": LABELS[1]}
    assert (found.repeated, found.contradicting, found.invalid) == (1, 1, 0)
    # Again, as when another monitor runs in the same job, gives the same.
    assert dict(gathered(files, truth_csv=NOON)[0].table.select("inference_id", TARGET).rows())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("truth.xlsx", "x", "its name must end in .csv, .jsonl or .parquet"),
        ("truth.parquet", "x", "it cannot be read: "),
        ("truth.csv", f"{ID},other\na,1\n", f"it has no column {TARGET}"),
        ("truth.jsonl", '{"a": 1}\n{"a": [1]}\n', "line 2 is not a JSON object of plain values"),
        ("truth.jsonl", "1\n", "line 1 is not a JSON object of plain values"),
    ],
)
def test_file_that_cannot_be_read_is_told_and_spares_the_others(
    files: Path, name: str, content: str, message: str
) -> None:
    (files / "labels" / name).write_text(content)
    write(files / "labels" / "good.csv", pl.DataFrame({ID: ["a"], TARGET: LABELS[:1]}))
    found, (problem,) = gathered(files, **{name.replace(".", "_"): NOON, "good_csv": NOON})
    assert problem.startswith(f"The labels in labels/{name} are not used: {message}")
    assert found.table.height == 1


def test_floats_and_empty_fields_are_no_labels(files: Path) -> None:
    write(files / "labels" / "a.parquet", pl.DataFrame({ID: [1.5], TARGET: LABELS[:1]}))
    (files / "labels" / "b.csv").write_text(f"{ID},{TARGET}\n,{LABELS[0]}\nb,\n")
    found, (problem,) = gathered(files, a_parquet=NOON, b_csv=NOON)
    assert "in which long ids lose digits" in problem
    assert (found.table.height, found.invalid) == (0, 2)


def test_a_row_that_is_not_a_whole_number_is_not_any_row(files: Path) -> None:
    """Nor is it no row at all, which would label the only row of a request."""
    text = f"{ID},row,{TARGET}\na,x,{LABELS[0]}\nb,,{LABELS[0]}\n"
    (files / "labels" / "a.csv").write_text(text)
    rows = {ID: ["c", "d", "e"], "row": [1.0, 1.5, None], TARGET: LABELS[:1] * 3}
    write(files / "labels" / "b.parquet", pl.DataFrame(rows))
    found, odd = gathered(files, a_csv=NOON, b_parquet=NOON)
    assert odd == []
    assert set(found.table.select("inference_id", "row").rows()) == {
        ("b", None),
        ("c", 1),
        ("e", None),
    }
    assert found.invalid == 2


def test_nothing_was_dropped(files: Path) -> None:
    write_lines(files / "ground-truth" / "a.jsonl", [label("a", LABELS[0])])
    found, odd = gathered(files)
    assert (found.table.height, odd) == (1, [])


def test_values_stay_as_they_were_written(tmp_path: Path) -> None:
    lines: list[Any] = [{"id": int(LONG), "code": "00501", "yes": True}, {"id": None, "x": 1.50}]
    write_lines(tmp_path / "a.jsonl", lines)
    assert read_objects(tmp_path / "a.jsonl").rows() == [
        (LONG, "00501", "true", None),
        (None, None, None, "1.5"),
    ]
    with pytest.raises(UseCaseError, match="line 1 is not"):
        read_objects(Path(__file__))
