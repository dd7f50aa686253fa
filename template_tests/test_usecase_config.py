"""usecase.toml: what is read of it and what is refused."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from support.examples import TARGET_TOML
from support.image import ROOT, fail

from usecase import config
from usecase.config import Approval, ConfigError, FeatureConstraints, UseCase
from usecase.problem import METRICS

TEXT = (ROOT / "usecase.toml").read_text()
METRIC = next(iter(METRICS))
MINIMAL = f"""
[data]
tables = ["sales"]
id = "order"
time = "ordered"
[target]
{TARGET_TOML}
[features]
categorical = ["shop"]
[approval]
metric = "{METRIC}"
threshold = 1
"""


def load(folder: Path, text: str) -> UseCase:
    path = folder / "usecase.toml"
    path.write_text(text)
    return config.load(path)


def test_the_file_of_this_project_is_right(use_case: UseCase) -> None:
    assert use_case.features.names == [*use_case.features.numeric, *use_case.features.categorical]
    assert use_case.approval.metric in use_case.monitors.model_quality.metrics


def test_most_keys_have_defaults(tmp_path: Path) -> None:
    use_case = load(tmp_path, MINIMAL)
    assert use_case.features.names == ["shop"]
    assert use_case.approval.threshold == 1.0
    assert use_case.monitors.data_quality.comparison_threshold == 0.1
    assert use_case.split == config.Split(validation=0.15, test=0.15)


def test_what_people_want_of_a_feature(tmp_path: Path) -> None:
    text = '[monitors.data_quality.features.shop]\ndomain = ["a", "b"]\ncompleteness = 1\n'
    wanted = load(tmp_path, MINIMAL + text).monitors.data_quality.features
    assert dict(wanted) == {"shop": FeatureConstraints(domain=("a", "b"), completeness=1.0)}


def test_errors_are_better_when_lower() -> None:
    for metric, operator in METRICS.items():
        assert Approval(metric, 0.5).higher_is_better == (operator == "LessThanThreshold")


def test_it_cannot_be_changed(use_case: UseCase) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        use_case.data.id = "other"  # type: ignore[misc]  # that is what is tested


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[target]",
            "[split]\ntests = 0.1\n[target]",
            "split.tests: unknown key; did you mean test?",
        ),
        ('id = "order"', 'identifier = "order"', "data.identifier: unknown key"),
        ('id = "order"', "", "data.id: is missing; add it"),
        ('id = "order"', "id = 1", "data.id: is 1, must be text in quotes"),
        ('["sales"]', '"sales"', "data.tables: is 'sales', must be a list"),
        ('["sales"]', "[1]", "data.tables: is 1, must be a list of text"),
        ('["sales"]', "[]", "data.tables: is empty"),
        ("threshold = 1", "threshold = true", "approval.threshold: is True, must be a number"),
        ("threshold = 1", 'threshold = "1"', "approval.threshold: is '1', must be a number"),
        (f'"{METRIC}"', '"luck"', f"approval.metric: unknown 'luck'; use one of {METRIC}, "),
        ("[target]", "[split]\ntest = 1.5\n[target]", "split.test: is 1.5, must lie between"),
        ("[target]", "[split]\ntest = 0.9\n[target]", "split.validation and test: leave nothing"),
        ('"returned"', '"shop"', "features: shop is target.column, so it cannot be a feature"),
        ('["shop"]', '["shop", "shop"]', "features.shop: named more than once"),
        ('["shop"]', '["time"]', "features: time: reserved for predictions"),
        ('["shop"]', "[]", "features.numeric, categorical: both are empty"),
        ('"ordered"', '"order"', "must be three different columns"),
        ("[target]", "[instances]\ntraining = 'm5'\n[target]", "instances.training: 'm5' is no"),
        ("[target]", "[monitors]\ndata_quality = 1\n[target]", "must be a [section]"),
        (
            "[target]",
            "[monitors.data_quality]\ncomparison_method = 'Strong'\n[target]",
            "monitors.data_quality.comparison_method: is 'Strong', must be one of Robust, Simple",
        ),
        (
            "[target]",
            "[monitors.data_quality]\ndelay_hours = -1\n[target]",
            "monitors.data_quality.delay_hours: must not be negative",
        ),
        (
            "[target]",
            "[monitors.model_quality]\nwindow_hours = 0\n[target]",
            "monitors.model_quality.window_hours: must be at least 1",
        ),
        (
            "[target]",
            "[monitors.model_quality]\nmetrics = ['luck']\n[target]",
            "monitors.model_quality.metrics: unknown 'luck'",
        ),
        ("[target]", "[rollback]\nerror_rate = 0\n[target]", "rollback.error_rate: is 0.0, must"),
        ("[target]", "[rollback]\nerror_rate = 5\n[target]", "rollback.error_rate: is 5.0, must"),
        ("[target]", "[rollback]\nlatency_ms = 0\n[target]", "rollback.latency_ms: is 0, must be"),
        ("[target]", "[rollback]\nlatency_ms = 60001\n[target]", "must be 1 to 60000"),
        (
            "[target]",
            "[training.hyperparameters]\nseed = [1]\n[target]",
            "training.hyperparameters.seed: is [1], must be text, a number or true/false",
        ),
        (
            "[target]",
            "[monitors.data_quality]\nmax_dropped = 5\n[target]",
            "monitors.data_quality.max_dropped: is 5.0, must lie between 0 and 1",
        ),
        (
            "[target]",
            "[monitors.data_quality]\nmin_predictions = 0\n[target]",
            "monitors.data_quality.min_predictions: must be at least 1",
        ),
        (
            "[target]",
            "[monitors.model_quality]\nmax_unmatched = -0.1\n[target]",
            "monitors.model_quality.max_unmatched: is -0.1, must lie between 0 and 1",
        ),
        (
            "[target]",
            "[monitors.model_quality.thresholds]\nluck = 0.5\n[target]",
            "monitors.model_quality.thresholds: 'luck' is not watched; metrics has",
        ),
        (
            "[target]",
            f"[monitors.model_quality.thresholds]\n{METRIC} = true\n[target]",
            f"monitors.model_quality.thresholds.{METRIC}: is True, must be a number",
        ),
        (
            "[target]",
            "[monitors.data_quality.features.shops]\nmax = 1\n[target]",
            "monitors.data_quality.features.shops: there is no such feature; there are shop",
        ),
        (
            "[target]",
            "[monitors.data_quality.features.shop]\nmaximum = 1\n[target]",
            "monitors.data_quality.features.shop.maximum: unknown key",
        ),
        (
            "[target]",
            "[monitors.data_quality.features.shop]\nmax = 1\n[target]",
            "monitors.data_quality.features.shop.max: is for numeric features, shop is none",
        ),
        (
            "[target]",
            "[monitors.data_quality.features.shop]\ncompleteness = 'all'\n[target]",
            "monitors.data_quality.features.shop.completeness: is 'all', must be a number",
        ),
        (
            "[target]",
            "[monitors.data_quality.features.shop]\nis_non_negative = 1\n[target]",
            "monitors.data_quality.features.shop.is_non_negative: is 1, must be true or false",
        ),
        (
            "[target]",
            "[monitors.data_quality.features.shop]\nmin = 2\nmax = 1\n[target]",
            "monitors.data_quality.features.shop.min: is 2.0, more than max, 1.0",
        ),
        ("[data]", "[data", "Expected ']'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MINIMAL
    with pytest.raises(ConfigError) as error:
        load(tmp_path, MINIMAL.replace(old, new, 1))
    assert message in str(error.value)
    assert str(tmp_path / "usecase.toml") in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"usecase.toml: cannot be read"):
        config.load(tmp_path / "usecase.toml")


def test_a_command_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "usecase.toml"
    path.write_text(TEXT.replace("[target]", "[tarjet]"))
    assert "tarjet: unknown key; did you mean target?" in fail(
        "prepare", tmp_path, USECASE_TOML=str(path)
    )


def test_it_imports_nothing_heavy() -> None:
    """Infrastructure, workflows and every command import it."""
    code = "import sys, usecase.config; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, check=True, cwd=ROOT / "src"
    )
    assert not {"numpy", "polars", "starlette", "usecase.model"} & set(result.stdout.split())
