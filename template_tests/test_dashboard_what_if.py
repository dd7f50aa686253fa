"""A table of what-ifs: what is refused, what is asked, and what people take along."""

import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import predictions, uploads, what_if
from ops import OpsError
from usecase import config

pytest_plugins = ["support.dashboard_account"]

FIELDS = what_if.sent()
ANSWER = {name: "a" if kind is str else 0.5 for name, kind in config.load().target.answer.items()}
APP = Path("dashboard/app.py").resolve()
VALUES = {"number": "2.5", "text": "EWR", "datetime": "2026-01-31T09:00:00Z"}
RECORD = {name: VALUES[kind] for name, kind in FIELDS.types.items()}
NUMBER = next(name for name, kind in FIELDS.types.items() if kind == "number")


def csv_of(*records: dict[str, Any]) -> bytes:
    return pl.DataFrame(records).write_csv().encode()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records each request has; one with the number 13 is refused."""
    found: list[int] = []

    def ask(instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found.append(len(instances))
        if any(each[NUMBER] == 13 for each in instances):
            raise OpsError("no 13")
        return [ANSWER] * len(instances)

    monkeypatch.setattr(what_if, "ask", ask)
    monkeypatch.setattr(what_if, "refusal", lambda error: str(error) if "13" in str(error) else "")
    return found


@pytest.mark.parametrize("suffix", uploads.SUFFIXES)
def test_rows_are_checked_as_the_api_checks_them(suffix: str) -> None:
    wrong = RECORD | {NUMBER: "many"}
    table = pl.DataFrame([RECORD | {"note": "=1+1"}, wrong | {"note": ""}])
    content = io.BytesIO()
    if suffix == ".csv":
        table.write_csv(content)
    else:
        table.write_parquet(content)
    found = uploads.read(f"Rows{suffix.upper()}", content.getvalue(), "utf-8-sig")
    assert found.instances == {0: RECORD | {NUMBER: 2.5} | numbers(RECORD)}
    assert [*found.wrong] == [1]
    assert found.wrong[1].startswith(f'field {NUMBER}: "many" is not a number')
    assert found.ignored == ["note"]


def numbers(record: dict[str, str]) -> dict[str, float]:
    return {name: float(record[name]) for name, kind in FIELDS.types.items() if kind == "number"}


def test_other_tables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content, message in (
        ("a.xlsx", b"", r"a\.xlsx: its name must end in \.csv or \.parquet"),
        ("a.parquet", b"oops", "the table is not Parquet"),
        ("a.csv", b"", "the table: is empty"),
        ("a.csv", b"other\n1\n", f"missing columns: .*{NUMBER}"),
        ("a.csv", csv_of(RECORD) + b"\xe9,\n", "the table: .*choose the encoding"),
        ("a.csv", csv_of(RECORD).splitlines(keepends=True)[0], "the file has no rows"),
    ):
        with pytest.raises(OpsError, match=message):
            uploads.read(name, content, "utf-8-sig")
    monkeypatch.setattr(uploads, "MOST_ROWS", 1)
    parquet = io.BytesIO()
    pl.DataFrame([RECORD] * 2).write_parquet(parquet)
    for name, table in (("a.csv", csv_of(RECORD, RECORD)), ("a.parquet", parquet.getvalue())):
        with pytest.raises(OpsError, match="has 2 rows, can have 1; split it"):
            uploads.read(name, table, "utf-8-sig")
    monkeypatch.setattr(uploads, "MOST_MB", 0)
    with pytest.raises(OpsError, match="larger than 0 MB"):
        uploads.read("a.csv", csv_of(RECORD), "utf-8-sig")


def test_one_wrong_record_costs_no_other_its_answer(asked: list[int]) -> None:
    records = {place: {NUMBER: 13.0 if place == 250 else 1.0} for place in range(500)}
    parts = [*uploads.answers(records)]
    found = {place: answer for part in parts for place, answer in part.items()}
    assert found.pop(250) == "no 13"
    assert found == dict.fromkeys([*range(250), *range(251, 500)], ANSWER)
    assert max(asked) == uploads.AT_ONCE
    assert len(asked) < 25, "halves, not every record by itself"


def test_when_all_fail_it_stops_asking(asked: list[int]) -> None:
    found: dict[int, Any] = {}
    for part in uploads.answers({place: {NUMBER: 13.0} for place in range(1000)}):
        found |= part
    assert [*found] == [*range(1000)]
    assert [*found.values()].count("no 13") == uploads.MOST_FAILURES
    assert found[999] == uploads.NOT_ASKED
    assert len(asked) < 60


def test_what_is_no_fault_of_the_request_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> None:
        raise OpsError("no endpoint")

    monkeypatch.setattr(what_if, "ask", gone)
    monkeypatch.setattr(what_if, "refusal", lambda _: "")
    with pytest.raises(OpsError, match="no endpoint"):
        [*uploads.answers({0: RECORD})]


def test_page_takes_a_table_and_gives_one_without_formulas(
    account: object, asked: list[int], hostile: str
) -> None:
    assert account
    app = AppTest.from_file(str(APP), default_timeout=300).run()
    app.switch_page("views/what_if.py").run()
    app.segmented_control[0].set_value("A table").run()
    rows = [RECORD | {"note": hostile}, RECORD | {NUMBER: "13", "note": ""}]
    content = csv_of(*rows, RECORD | {NUMBER: "many", "note": ""})
    app.file_uploader[0].set_value(("rows.csv", content, "text/csv")).run()
    assert not app.exception
    assert "1 of 3 rows would be refused" in app.warning[0].value
    next(button for button in app.button if button.label == "Predict 2 records").click().run()
    assert not app.exception
    assert asked == [2, 1, 1]
    assert app.success[0].value == "1 rows are answered."
    found = app.dataframe[0].value
    assert found["problem"].isna().to_list() == [True, False, False]
    name = next(iter(ANSWER))
    assert found[f"answer_{name}"].to_list()[0] == ANSWER[name]
    taken = predictions.csv(pl.from_dataframe(found)).decode("utf-8-sig")
    assert f'"\'{hostile}"' in taken
