"""Taking over data sets that people bring: run in a project, by tests/test_adopt.py of the root."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer
from data_sets import ROWS, data, examples, load
from typer.testing import CliRunner
from workflows import names

from adopt import columns, dataset, files, table, trial
from adopt.project import FEATURES, MART, OWNED, SAMPLE, build, problem
from local import tools
from ops import OpsError
from usecase import prepare

adopting = problem()
Adopt = Callable[..., str]


def commit(message: str) -> None:
    """Commit everything in the working directory, which becomes a repository if it is none yet."""
    who = ["-c", "user.name=tests", "-c", "user.email=tests@example.com"]
    for arguments in (
        ["init", "--quiet"],
        ["add", "--all"],
        [*who, "commit", "--allow-empty", "-qm", message],
    ):
        subprocess.run(["git", *arguments], check=True)


def test_a_hard_data_set_becomes_a_use_case(run: Adopt, project: Path) -> None:
    shown = run(data(), "--time", "ordered at", "--id", "order no", "--facet", 'a "quoted", name')
    use_case, records = load(project)
    assert (use_case.data.id, use_case.data.time) == ("order_no", "ordered_at")
    lines = (project / "usecase.toml").read_text().splitlines()
    assert not [line for line in lines if line != line.rstrip()]
    assert use_case.features.numeric == (
        *("ordered_at_weekday", "ordered_at_hour", "価格_円", "time_2", "born_age_in_days"),
    )
    assert use_case.features.categorical == ("a_quoted_name",)
    mart = use_case.mart["my_data"]
    assert (mart.unique, mart.boolean, mart.time) == (("order no",), (), ("ordered at", "born"))
    assert {"価格 (円)", "time"} == {*mart.number} - {"the target?"}
    assert ([*use_case.mart], [*use_case.facets]) == (["my_data"], ["a_quoted_name"])
    above = lines[lines.index("[facets.a_quoted_name]") - 1]
    assert above.startswith("# The evaluation tells of groups, too: each value, or those of ")
    assert use_case.request is None  # callers send the features
    assert records.height == ROWS
    assert records["価格_円"].null_count() == ROWS // 50
    assert records["ordered_at"].is_sorted()
    assert records["born_age_in_days"].min() > 365  # type: ignore[operator]  # a number
    history = pl.read_parquet(project / "data" / "my_data" / "history.parquet").height
    parts = prepare.split(records.head(history), use_case)
    assert sum(part.height for part in parts.values()) == history
    for words in ("made_of_the_target", "constant", "empty", "identifies rows", "facet"):
        assert words in shown
    # Only what belongs there is left.
    assert sorted(p.name for p in (project / "data").iterdir()) == ["my_data", "parts.json"]


def test_what_features_py_reads_is_listed_for_the_tests(run: Adopt, project: Path) -> None:
    """Made-up rows of it become records of each label, without a row of the data."""
    run(data(), "--time", "ordered at", "--id", "order no")
    use_case, records = load(project)
    listed = tomllib.loads((project / MART).read_text())["my_data"]
    raw = pl.read_parquet(project / "data" / "my_data" / "history.parquet")
    labels = listed.pop("the target?")
    assert listed == {
        "order no": "id",
        "ordered at": "time",
        "価格 (円)": "number",
        "time": "number",
        'a "quoted", name': "text",
        "born": "date",
    }
    mart = importlib.import_module("support.mart")
    made = mart.made_up({**listed, "the target?": labels}, use_case)
    assert dict(made.schema) == {name: raw.schema[name] for name in made.columns}
    built = build(project / FEATURES, {"my_data": made})
    clean = prepare.clean(built, use_case)
    assert clean.schema == records.schema
    use_case.target.check(clean[use_case.target.column], "made-up rows")


def test_the_traffic_is_newer_than_the_history_and_begins_with_a_day(
    run: Adopt, project: Path
) -> None:
    run(data(), "--time", "ordered at")
    parts = [
        pl.read_parquet(project / "data" / "my_data" / f"{name}.parquet")["ordered at"]
        for name in ("history", "traffic-1", "traffic-2")
    ]
    assert sum(map(len, parts)) == ROWS
    for older, newer in pairwise(parts):
        assert older.max() < newer.min()  # type: ignore[operator]  # times
        assert older.dt.date().max() < newer.dt.date().min()  # type: ignore[operator]  # days


def test_a_file_without_time_keeps_its_order(run: Adopt, project: Path) -> None:
    rows = data().drop("ordered at", "order no", "born")
    assert "the order of its rows stands for it" in run(rows)
    use_case, records = load(project)
    assert (use_case.data.id, use_case.data.time) == ("record_id", "record_time")
    assert records["record_id"].to_list() == [str(n) for n in range(1, ROWS + 1)]
    assert records["time_2"].to_list() == rows["time"].to_list()


def test_a_file_that_is_sorted_by_its_target_is_mixed(run: Adopt, project: Path) -> None:
    assert "sorted by its target" in run(data().sort("the target?").drop("ordered at"))
    use_case, records = load(project)
    for part in prepare.split(records, use_case).values():
        assert part[use_case.target.column].n_unique() > 1


def test_a_row_without_target_is_left_out(run: Adopt, project: Path) -> None:
    rows = data().with_columns(
        pl.when(pl.int_range(pl.len()) < 10)
        .then(None)
        .otherwise("the target?")
        .alias("the target?")
    )
    assert f"10 of {ROWS} rows are left out" in run(rows)
    assert load(project)[1].height == ROWS - 10


def test_the_owners_model_is_not_fitted(run: Adopt, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: object) -> None:
        raise AssertionError("it was fitted")

    monkeypatch.setattr("usecase.model.Model.fit", fit)
    shown = run(data(), "--time", "ordered at")
    assert f"(gradient boosting, not src/usecase/model.py) reached {adopting.METRIC} " in shown


def test_the_data_quality_monitor_is_not_needed(
    run: Adopt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project without it has not what judges the data."""
    monkeypatch.setattr(names, "MONITORS", ("model_quality",))
    monkeypatch.delattr("usecase.monitors.profile")
    monkeypatch.setitem(sys.modules, "usecase.monitors.profile", None)
    importlib.reload(trial)
    assert "A first fit" in run(data(), "--time", "ordered at")


def test_two_columns_that_give_the_target_away_are_left_out(run: Adopt, project: Path) -> None:
    rows = data(2000)
    made = rows["made of the target"]
    spread = 9 * float(made.to_numpy().std())
    begin = pl.Series(np.random.default_rng(7).normal(0, spread, rows.height))
    rows = rows.drop("made of the target").with_columns(begin=begin, end=begin + made)
    shown = run(rows, "--time", "ordered at")
    assert "as two together give the target away: begin - end" in shown
    assert not {"begin", "end"} & {*load(project)[0].features.names}


def test_the_rest_of_usecase_toml_stays(run: Adopt, project: Path) -> None:
    file = project / "usecase.toml"
    before = file.read_text().replace('processing = "ml.m5.large"', 'processing = "ml.m7i.large"')
    file.write_text(f"{before}# the end\n")
    run(data(), "--time", "ordered at")
    after = file.read_text()
    assert after.splitlines()[0] == before.splitlines()[0]
    assert after.endswith(f"{before[before.index('[instances]') :]}# the end\n")
    assert sections(after) == sections(before)


@pytest.mark.parametrize("framework", ["xgboost", "scikit_learn"])
def test_free_text_is_a_feature_where_the_model_takes_it(
    run: Adopt, project: Path, framework: str
) -> None:
    answers = project / tools.ANSWERS
    answers.write_text(re.sub("framework: .*", f"framework: {framework}", answers.read_text()))
    rows = data()
    number = pl.int_range(pl.len())
    label = pl.col("the target?").cast(pl.String)
    review = pl.format("{}番: as good as {} others, says nobody", number, label)
    shown = run(rows.with_columns(review=review, code=pl.format("code-{}", number.hash())))
    use_case, records = load(project)
    if framework == "scikit_learn":
        assert use_case.features.text == ("review",)
        assert records["review"].n_unique() == records.height
        assert "review" not in use_case.features.categorical
    else:
        assert use_case.features.text == ()
        assert "make what counts in it a number or a category in features.py" in shown
    assert "code" not in use_case.features.names


def sections(text: str) -> list[str]:
    """The sections of usecase.toml, but for those that are about some tables and features."""
    return [name for name in files.split(text) if not re.match("(mart|facets|request)\\b", name)]


def test_what_people_wanted_of_features_goes_with_the_features(run: Adopt, project: Path) -> None:
    file = project / "usecase.toml"
    before = file.read_text()
    file.write_text(f"{before}\n[monitors.{names.MONITORS[0]}.features.distance]\nmax = 5000\n")
    run(data(), "--time", "ordered at")
    assert sections(file.read_text()) == sections(before)


def test_what_is_watched_of_groups_stays_but_for_the_names_of_old_data() -> None:
    text = (
        "[monitors.bias]\npositive = ['late'] # not late\ngroup_variable = 'carrier'\n"
        "metrics = ['DPPL']\ntolerance = 0.05\nmin_labels = 200\n"
    )
    sections = {"monitors.bias": text, "monitors.model_quality": "metrics = ['f1']\n"}
    settings = {"metrics": ["auc"], "tolerance": 0.5, "min_labels": 90}
    assert files.settled(sections, settings) == {
        "monitors.bias": (
            "[monitors.bias]\nmetrics = ['DPPL']\ntolerance = 0.05\nmin_labels = 90\n"
        ),
        "monitors.model_quality": 'metrics = ["auc"]\n',
    }


@pytest.mark.parametrize("edited", OWNED, ids=str)
def test_edited_files_are_not_replaced(project: Path, app: typer.Typer, edited: Path) -> None:
    file = project / "data.csv"
    data().write_csv(file)
    arguments = [str(file), "--target", "the target?"]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, OpsError), "nothing is committed yet"
    commit("Start from the template")
    for message in ("Adopt", "Adopt again"):  # what was adopted is replaced, too
        assert CliRunner().invoke(app, arguments).exit_code == 0
        commit(message)
    assert not any(file.exists() for file in SAMPLE)
    text = edited.read_text() if edited.exists() else ""
    edited.write_text(f"{text}\n# mine\n")
    commit("Mine")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, OpsError)
    assert str(error).startswith(f"{edited}: would be replaced")
    assert before == {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}


def test_when_something_fails_nothing_has_changed(run: Adopt, project: Path) -> None:
    run(data())
    FEATURES.rename(project / "kept")
    FEATURES.parent.rmdir()  # so that the new one cannot get there
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    with pytest.raises(FileNotFoundError):
        run(data().head(300))
    (project / "My data.csv").unlink()
    after = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert after == {path: content for path, content in before.items() if path.suffix != ".csv"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"a,b\n", "has no rows"),
        (b"a,b\n,\n", "has no rows"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 fields, the header has 2"),
        (b"a,b\n1,2,3\n", "line 2 has 3 fields, the header has 2"),
        (b"a,b,a\n1,2,3\n", "two columns are called 'a'"),
        (b"a,b\n\x93\xfa,2\n", "is not UTF-8 text"),
        (b'a,b\n"x,2\n', "is not CSV"),
        (b"a,c\n1,2\n", "--target b: there is no such column; there are a, c"),
        (b"a,B\n1,2\n", "--target b: there is no such column; did you mean B? there are a, B"),
    ],
)
def test_a_file_that_cannot_work_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    with pytest.raises(OpsError) as refused:
        dataset.look(file, dataset.Asked("b"), adopting)
    message = str(refused.value)
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--id", "constant"], "--id constant: 600 rows share their ids, such as x; take out"),
        (["--id", "empty"], "--id empty: is empty in 600 rows"),
        (
            ["--id", "wide"],
            "wide 000000000000000000000000… is not an id; it must be ASCII, at most 64 characters",
        ),
        (["--time", "remark"], "remark: 'remark 0' is not a time that can be read"),
        (["--time", "constant"], "constant: 'x' is not a time"),
        (["--time", "empty"], "empty: 'nothing' is not a time"),
        (["--facet", "colour"], "--facet colour: there is no such column"),
        (["--id", "remark", "--time", "remark"], "remark: is asked for as two things"),
    ],
)
def test_a_column_that_cannot_be_what_it_should_be_is_refused(
    run: Adopt, arguments: list[str], reason: str
) -> None:
    wide = pl.Series("wide", [f"wide {n:060}" for n in range(ROWS)])
    with pytest.raises(OpsError) as refused:
        run(data().with_columns(wide), *arguments)
    assert reason in str(refused.value)


def test_a_file_in_another_encoding_is_read(tmp_path: Path, app: typer.Typer) -> None:
    file = tmp_path / "x.CSV"
    file.write_bytes("番号,商品\n1,りんごジュース\n2,日本酒の大瓶\n".encode("cp932"))
    with pytest.raises(OpsError, match="pass --encoding cp932 if"):
        table.read(file)
    arguments = [str(file), "--target", "商品", "--force", "--encoding", "cp932"]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, OpsError)
    assert "UTF-8" not in str(error), "it is read, and refused for what it holds"


def test_too_few_rows_are_refused(run: Adopt) -> None:
    with pytest.raises(OpsError, match="only 99 rows can be used; at least 100 are needed"):
        run(data().head(99))


@pytest.mark.parametrize(("values", "reason"), examples.NO_TARGETS)
def test_a_column_that_is_no_target_of_this_project_is_refused(
    values: list[Any], reason: str
) -> None:
    with pytest.raises(OpsError) as refused:
        adopting.look(pl.Series("y", values))
    assert reason in str(refused.value)


def test_data_without_a_feature_is_refused(run: Adopt) -> None:
    with pytest.raises(OpsError, match="no column is left that can be a feature"):
        run(data().select("constant", "remark", "the target?"))


def test_features_that_all_give_the_target_away_stay(run: Adopt, project: Path) -> None:
    shown = run(data().select("made of the target", "the target?"))
    assert "Each feature gives the target away: made_of_the_target" in shown
    assert load(project)[0].features.names == ["made_of_the_target"]


def test_no_class_is_missing_where_rows_are_mixed() -> None:
    truth = pl.Series(["a"] * 180 + ["b"] * 15 + ["c"] * 15)
    times = trial.made_up(len(truth))
    assert trial.scarce(truth, times)
    assert not trial.scarce(truth.gather(trial.mixed(truth)), times)
    assert trial.grouped(truth)
    assert not trial.grouped(truth.gather(trial.mixed(truth)))


def test_names_become_plain_and_stay_different() -> None:
    names = ["a b", "a_b", "A-B", "time", "年齢", "()", "x"]
    plain = columns.plain_names(names)
    assert [*plain.values()] == ["a_b", "a_b_2", "A_B_3", "time_2", "年齢", "column", "x"]


@pytest.mark.parametrize(
    "text", ["a", "it's", 'say "hi"', "both ' and \"", "\\n\n\t", "年、円", "\x7f\u2028"]
)
def test_any_text_can_be_written_to_both_files(text: str) -> None:
    assert ast.literal_eval(columns.literal(text)) == text
    assert tomllib.loads(files.section("s", [], {"k": ([text] * 40, "")}))["s"]["k"] == [text] * 40
