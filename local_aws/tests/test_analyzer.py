"""The stand-in for Model Monitor's image, as the process that a job runs."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from local_aws.analyzer import classification, constraints
from local_aws.analyzer.__main__ import main

CSV = '{"csv": {"header": true}}'
CAPTURED = '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}'


@dataclass
class Ran:
    """What a run has left."""

    status: int
    error: str
    ml: Path
    output: Path

    @property
    def message(self) -> str:
        return (self.ml / "output" / "message").read_text()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        path = self.ml / "output" / "metrics" / "cloudwatch" / "cloudwatch_metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    @property
    def violations(self) -> set[tuple[str, str]]:
        return {
            (each["feature_name"], each["constraint_check_type"])
            for each in self.read("constraint_violations")["violations"]
        }

    def read(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.output / f"{name}.json").read_text())
        return content


def place(folder: Path, files: dict[str, str]) -> dict[str, str]:
    """Writes files with these texts; returns the environment of a run on them."""
    number = len(list(folder.glob("data-*")))
    source = folder / f"data-{number}"
    source.mkdir()
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    return {
        "SAGEMAKER_BASE_DIR": str(folder / f"ml-{number}"),
        "dataset_source": str(source),
        "dataset_format": CSV,
        "output_path": str(folder / f"output-{number}"),
    }


def analyse(folder: Path, files: dict[str, str], **settings: str) -> Ran:
    """Runs the analyzer on files with these texts."""
    environment = place(folder, files) | settings
    done = subprocess.run(
        [sys.executable, "-I", "-m", "local_aws.analyzer"],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    ml, output = (Path(environment[name]) for name in ("SAGEMAKER_BASE_DIR", "output_path"))
    return Ran(done.returncode, done.stderr.strip(), ml, output)


def against(baseline: Ran) -> dict[str, str]:
    return {
        "baseline_constraints": str(baseline.output / "constraints.json"),
        "baseline_statistics": str(baseline.output),
    }


def record(number: int, sent: str, answered: str, **fields: Any) -> str:
    sides = {"endpointInput": sent, "endpointOutput": answered}
    captured = {
        side: {"observedContentType": "text/csv", "data": text, "encoding": "CSV", **fields}
        for side, text in sides.items()
    }
    time = f"2026-01-15T12:{number % 60:02}:00Z"
    metadata = {"eventId": f"e-{number}", "inferenceTime": time}
    return json.dumps({"captureData": captured, "eventMetadata": metadata}) + "\n"


def test_a_baseline_has_model_monitors_format(tmp_path: Path) -> None:
    texts = ["" if n % 5 == 0 else f'"a, {n % 2}"' for n in range(1, 41)]
    rows = "".join(f"{n},{n / 4},{text}\n" for n, text in enumerate(texts, start=1))
    done = analyse(tmp_path, {"a.csv": f"n,share,text\n{rows}", "b.csv": "n,share,text\n-3,x,\n"})
    assert (done.status, done.message) == (0, "Completed: Job completed successfully.")
    number, share, text = done.read("statistics")["features"]
    assert number["inferred_type"] == "Integral"
    described = number["numerical_statistics"]
    assert described["common"] == {"num_present": 41, "num_missing": 0}
    assert (described["min"], described["max"], described["sum"]) == (-3, 40, 817)
    buckets = described["distribution"]["kll"]["buckets"]
    assert [bucket["count"] for bucket in buckets] == [2, 4, 4, 5, 4, 4, 5, 4, 4, 5]
    assert buckets[0]["lower_bound"] == -3
    assert share["inferred_type"] == text["inferred_type"] == "String"  # one is not a number
    assert text["string_statistics"]["distribution"]["categorical"]["buckets"] == [
        {"value": "a, 0", "count": 16},
        {"value": "a, 1", "count": 16},
    ]
    suggested = done.read("constraints")
    assert suggested["features"][0]["num_constraints"] == {"is_non_negative": False}
    # 32 of 41 present: the lower end of the 95 % confidence interval.
    assert suggested["features"][2]["completeness"] == 0.65
    assert suggested["features"][2]["string_constraints"] == {"domains": ["a, 0", "a, 1"]}
    assert not (done.output / "constraint_violations.json").exists()


def test_each_check_finds_what_it_is_for(tmp_path: Path) -> None:
    rows = "".join(f"{n % 10},{n % 7 + 0.5},{'xy'[n % 2]},1\n" for n in range(500))
    before = analyse(tmp_path, {"a.csv": f"whole,drift,kind,gone\n{rows}"})
    rows = "".join(f"{n % 10},{n % 7 + 3.5},{'xy'[n % 2]},2\n" for n in range(500))
    rows += "a,,z,2\n" * 10
    same = {"publish_cloudwatch_metrics": "Enabled", "sagemaker_monitoring_schedule_name": "s"}
    now = analyse(tmp_path, {"a.csv": f"whole,drift,kind,new\n{rows}"}, **against(before), **same)
    assert now.violations == {
        ("whole", "data_type_check"),
        ("whole", "completeness_check"),
        ("drift", "completeness_check"),
        ("drift", "baseline_drift_check"),
        ("kind", "categorical_values_check"),
        ("gone", "missing_column_check"),
        ("new", "extra_column_check"),
    }
    assert now.message == "CompletedWithViolations: Job completed successfully with 7 violations."
    found = {metric["MetricName"]: metric for metric in now.metrics}
    assert found["feature_non_null_drift"]["Value"] == pytest.approx(500 / 510)
    assert found["feature_baseline_drift_drift"]["Value"] > 0.1
    assert found["feature_data_drift"]["StatisticValues"]["Maximum"] == 9.5
    assert found["feature_data_drift"]["Dimensions"] == [
        {"Name": "MonitoringSchedule", "Value": "s"}
    ]


def edit(baseline: Ran, **config: Any) -> None:
    path = baseline.output / "constraints.json"
    document = json.loads(path.read_text())
    document["monitoring_config"] |= config
    path.write_text(json.dumps(document))


def test_what_the_monitoring_config_says_is_done(tmp_path: Path) -> None:
    before = analyse(tmp_path, {"a.csv": "n\n" + "".join(f"{n}\n" for n in range(40))})
    shifted = {"a.csv": "n\n" + "".join(f"{n + 10}\n" for n in range(40))}
    assert analyse(tmp_path, shifted, **against(before)).violations == set()  # few: by chance
    settings = constraints.MONITORING_CONFIG["distribution_constraints"]
    assert isinstance(settings, dict)
    edit(before, distribution_constraints={**settings, "comparison_method": "Simple"})
    found = analyse(tmp_path, shifted, **against(before))
    assert found.violations == {("n", "baseline_drift_check")}
    (violation,) = found.read("constraint_violations")["violations"]
    assert violation["description"] == "Baseline drift distance: 0.2500 exceeds threshold: 0.1"
    edit(before, evaluate_constraints="Disabled", emit_metrics="Disabled")
    same = {"publish_cloudwatch_metrics": "Enabled", "sagemaker_monitoring_schedule_name": "s"}
    found = analyse(tmp_path, shifted, **against(before), **same)
    assert (found.violations, found.metrics) == (set(), [])


def test_captured_csv_has_the_names_of_the_baseline(tmp_path: Path) -> None:
    rows = "".join(f"0,{n},a\n" for n in range(60))
    both = analyse(tmp_path, {"a.csv": f"answer,n,kind\n{rows}"})
    request = analyse(tmp_path, {"a.csv": f"answer,n,kind\n{rows}"}, exclude_features_attribute="0")
    assert [f["name"] for f in request.read("constraints")["features"]] == ["n", "kind"]
    lines = "".join(record(n, f"{n},a\n", "0") for n in range(60))
    files = {"endpoint/AllTraffic/2026/01/15/12/a.jsonl": lines}
    for baseline in (both, request):
        found = analyse(tmp_path, files, **against(baseline), dataset_format=CAPTURED)
        assert found.violations == set()
        assert found.read("statistics")["dataset"] == {"item_count": 60}
    window = {"start_time": "2026-01-15T12:10:00Z", "end_time": "2026-01-15T12:20:00Z"}
    found = analyse(tmp_path, files, **against(both), **window, dataset_format=CAPTURED)
    assert found.read("statistics")["dataset"] == {"item_count": 10}


def test_captured_json_and_base64_are_read(tmp_path: Path) -> None:
    baseline = analyse(tmp_path, {"a.csv": "a.b,c\n1,x\n2,y\n"})
    nested = '{"instances": [{"a": {"b": 1}, "c": "x"}, {"a": {"b": 2}, "c": null}]}'
    answered = '{"predictions": [{"p": 0.5}, {"p": 0.25}]}'
    encoded = [base64.b64encode(text.encode()).decode() for text in (nested, answered)]
    lines = record(1, nested, answered, encoding="JSON")
    lines += record(2, *encoded, encoding="BASE64", observedContentType="application/json")
    lines += record(3, "{", "1", encoding="JSON")  # left out, and told
    found = analyse(tmp_path, {"a.jsonl": lines}, **against(baseline), dataset_format=CAPTURED)
    assert found.read("statistics")["dataset"] == {"item_count": 4}
    assert found.violations == {("c", "completeness_check")}


def test_own_scripts_are_run(tmp_path: Path) -> None:
    baseline = analyse(tmp_path, {"a.csv": "first,count\n1,2\n"})
    pre, post, done = tmp_path / "pre.py", tmp_path / "post.py", tmp_path / "done"
    pre.write_text(
        "def preprocess_handler(inference_record, logger):\n"
        "    if inference_record.event_metadata.event_id == 'e-2':\n"
        "        return []\n"
        "    values = inference_record.endpoint_input.data.split(',')\n"
        "    return {'first': int(values[0]), 'count': len(values)}\n"
    )
    post.write_text(f"def postprocess_handler():\n    open({str(done)!r}, 'w').close()\n")
    lines = "".join(record(n, "1,7", "0") for n in range(4))
    settings = {
        "dataset_format": CAPTURED,
        "record_preprocessor_script": str(pre),
        "post_analytics_processor_script": str(post),
    }
    found = analyse(tmp_path, {"a.jsonl": lines}, **against(baseline), **settings)
    assert found.read("statistics")["dataset"] == {"item_count": 3}
    assert found.violations == set()
    assert done.exists()
    pre.write_text("def preprocess_handler(inference_record):\n    return 1 / 0\n")
    broken = analyse(tmp_path, {"a.jsonl": lines}, **against(baseline), **settings)
    assert broken.status == 1
    assert broken.error == ("record_preprocessor_script: ZeroDivisionError: division by zero")


def test_json_lines_and_parquet_are_read(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"n": n, "kind": "ab"[n % 2]}) + "\n" for n in range(20))
    from_json = analyse(tmp_path, {"a.jsonl": lines}, dataset_format='{"json": {"lines": true}}')
    assert [f["inferred_type"] for f in from_json.read("statistics")["features"]] == [
        "Integral",
        "String",
    ]
    folder = tmp_path / "parquet"
    folder.mkdir()
    query = "copy (select range as n, 'ab'[range % 2 + 1] as kind from range(20)) to '$'"
    duckdb.sql(query.replace("$", str(folder / "a.parquet")))
    from_parquet = analyse(
        tmp_path, {}, dataset_format='{"parquet": {}}', dataset_source=str(folder)
    )
    assert from_parquet.read("statistics") == from_json.read("statistics")


@pytest.mark.parametrize(
    ("files", "settings", "said"),
    [
        ({}, {}, "there is no file"),
        ({"a.csv": "a\n1\n"}, {"dataset_format": "csv"}, "dataset_format: 'csv' is not JSON"),
        ({"a.csv": "a\n1\n"}, {"dataset_format": '{"orc": {}}'}, "'orc' is not known"),
        ({"a.csv": "a,b\n1,2\n3,4,5\n"}, {}, "is not csv"),
        ({"a.csv": "a\n1\n", "b.csv": "b\n1\n"}, {}, "the files have different headers"),
        ({"a.csv": "a,a\n1,2\n"}, {}, "several of one name"),
        ({"a.jsonl": "[]\n"}, {"dataset_format": CAPTURED}, "line 1 is not a JSON object"),
        ({"a.csv": "a\n1\n"}, {"baseline_constraints": "/none.json"}, "baseline_constraints: "),
        ({"a.csv": "a\n1\n"}, {"start_time": "noon", "dataset_format": CAPTURED}, "start_time"),
        ({"a.csv": "a\n1\n"}, {"output_path": ""}, "output_path: the environment variable"),
        ({"a.csv": "a\n1\n"}, {"analysis_type": "BIAS"}, "analysis_type: 'BIAS'"),
        ({"a.csv": "a\n1\n"}, {"record_preprocessor_script": "/x.py"}, "for captured records only"),
        (
            {"a.jsonl": "{}\n"},
            {"dataset_format": CAPTURED, "record_preprocessor_script": "/none.py"},
            "record_preprocessor_script: FileNotFoundError",
        ),
        (
            {"a.csv": "a\n1\n"},
            {"publish_cloudwatch_metrics": "Enabled"},
            "only for jobs from MonitoringSchedules",
        ),
        (
            {"a.csv": "a\n1\n"},
            {"analysis_type": "MODEL_QUALITY", "problem_type": "Regression"},
            "ground_truth_attribute: the environment variable is not set",
        ),
    ],
)
def test_what_cannot_be_analysed_is_told_in_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    files: dict[str, str],
    settings: dict[str, str],
    said: str,
) -> None:
    environment = place(tmp_path, files) | settings
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main() == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1 or "is not csv" in error
    assert not list(tmp_path.rglob("*.json"))


def test_the_documented_example_of_a_binary_classification() -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html."""
    pairs = [("0", 0.1), ("0", 0.6), ("0", 0.7), ("1", 0.9)]
    found = classification.binary(pairs, 0.5)
    assert found == pytest.approx(
        {
            "recall": 1.0,
            "precision": 0.3333333333333333,
            "accuracy": 0.5,
            "recall_best_constant_classifier": 1.0,
            "precision_best_constant_classifier": 0.25,
            "accuracy_best_constant_classifier": 0.25,
            "true_positive_rate": 1.0,
            "true_negative_rate": 0.33333333333333337,
            "false_positive_rate": 0.6666666666666666,
            "false_negative_rate": 0.0,
            "auc": 1.0,
            "f0_5": 0.3846153846153846,
            "f1": 0.5,
            "f2": 0.7142857142857143,
            "f0_5_best_constant_classifier": 0.29411764705882354,
            "f1_best_constant_classifier": 0.4,
            "f2_best_constant_classifier": 0.625,
        }
    )
    details = classification.details("BinaryClassification", pairs, 0.5)
    assert details["confusion_matrix"] == {"0": {"0": 1, "1": 2}, "1": {"0": 0, "1": 1}}


def test_the_documented_example_of_a_multiclass_classification() -> None:
    counts = {("0", "0"): 1180, ("0", "1"): 510, ("1", "0"): 268, ("1", "1"): 138}
    pairs = [pair for pair, count in counts.items() for _ in range(count)]
    found = classification.multiclass(pairs)
    assert {name: found[name] for name in list(found)[:6]} == pytest.approx(
        {
            "accuracy": 0.6288167938931297,
            "weighted_recall": 0.6288167938931297,
            "weighted_precision": 0.6983172269629505,
            "weighted_f0_5": 0.6803947317178771,
            "weighted_f1": 0.6571162346664904,
            "weighted_f2": 0.6384024354394601,
        }
    )


def test_a_baseline_of_predictions_suggests_no_worse_ones(tmp_path: Path) -> None:
    rows = "".join(f"{n % 3},{(n + n // 50) % 3}\n" for n in range(300))
    given = {
        "analysis_type": "MODEL_QUALITY",
        "problem_type": "MulticlassClassification",
        "ground_truth_attribute": "label",
        "inference_attribute": "1",
    }
    # A number stands for a column without a name.
    failed = analyse(tmp_path, {"a.csv": f"label,said\n{rows}"}, **given)
    assert "there is no column '1'" in failed.error
    given["inference_attribute"] = "said"
    done = analyse(tmp_path, {"a.csv": f"label,said\n{rows}"}, **given)
    measured = done.read("statistics")["multiclass_classification_metrics"]
    assert 0 < measured["accuracy"]["standard_deviation"] < 0.1
    limits = done.read("constraints")["multiclass_classification_constraints"]
    assert limits["weighted_f1"] == {
        "threshold": measured["weighted_f1"]["value"],
        "comparison_operator": "LessThanThreshold",
    }
    limit = {"baseline_constraints": str(done.output / "constraints.json")}
    again = analyse(tmp_path, {"a.csv": f"label,said\n{rows}"}, **given, **limit)
    assert again.read("constraint_violations") == {"violations": []}
    worse = rows.replace("\n", "\n0,1\n")
    found = analyse(tmp_path, {"a.csv": f"label,said\n{worse}"}, **given, **limit)
    names = {v["metric_name"] for v in found.read("constraint_violations")["violations"]}
    assert {"accuracy", "weighted_f1"} <= names


def test_names_may_be_anything(tmp_path: Path) -> None:
    """Such as names that differ in case alone, have quotes, or are SQL."""
    names = ["a", "A", '"', "x; drop table data", "{column}", "é"]
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    done = analyse(tmp_path, {"a.csv": f"{header}\n1,2,3,4,5,6\n"})
    features = done.read("statistics")["features"]
    assert [f["name"] for f in features] == names
    assert [f["numerical_statistics"]["sum"] for f in features] == [1, 2, 3, 4, 5, 6]


def test_levels_of_a_sketch_weigh_twice_as_much_each() -> None:
    one = [(1.0, 1.0), (2.0, 1.0), (3.0, 2.0)]
    assert (
        constraints.kolmogorov_smirnov(one, [(1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (3.0, 1.0)]) == 0
    )
    assert constraints.kolmogorov_smirnov(one, [(4.0, 1.0)]) == 1
