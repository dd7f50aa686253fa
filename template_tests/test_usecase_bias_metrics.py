"""The bias metrics against smclarify, AWS's documented examples, and chance."""

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from local import sample_data
from usecase import config
from usecase.config import Features
from usecase.facets import Facet
from usecase.monitors import bias_metrics
from usecase.monitors.bias_analysis import Group, Records, analyse
from usecase.monitors.bias_metrics import Tables, Value, measure
from usecase.monitors.bias_names import METRICS

#: What tests/clarify.py of the template wrote.
GOLDEN = json.loads((Path(__file__).parent / "support" / "clarify.json").read_text())
LATE = 15
NUMBERS = ("air_time", "distance", "arr_time", "flight")
Table = list[list[int]]


def flights() -> pl.DataFrame:
    """The flights that tests/clarify.py looks at."""
    table = sample_data.flights()
    some = table.filter(pl.col("month") == 3, pl.col("arr_delay").is_not_null())
    return some.gather_every(25)


@cache
def analysed(facet: str, *, conditional: bool) -> list[Group]:
    """The groups of a facet; of numbers alone, as the flip test needs, where unconditional."""
    table, use_case = flights(), config.load()
    categorical = ("origin", "carrier") if conditional else ("origin",) * (facet == "origin")
    features = Features(numeric=NUMBERS, categorical=categorical)
    facets = {facet: Facet() if facet == "origin" else Facet(thresholds=(1000.0,))}
    settings = replace(use_case.monitors.bias, group_variable="carrier" if conditional else "")
    changed = replace(
        use_case,
        features=features,
        facets=facets,
        request=None,
        monitors=replace(use_case.monitors, bias=settings),
    )
    records = Records(
        features=table.select(features.names),
        predicted=(table["dep_delay"] > LATE).to_numpy(),
        labelled=np.arange(table.height),
        labels=(table["arr_delay"] > LATE).to_numpy(),
    )
    return analyse(records, changed)


@pytest.mark.parametrize(
    ("facet", "name", "golden"),
    [
        *(("origin", origin, origin) for origin in GOLDEN["origin"]),
        ("distance", "> 1000", "(1000, 4983]"),
    ],
)
def test_metrics_are_those_of_smclarify(facet: str, name: str, golden: str) -> None:
    (whole,) = (g for g in analysed(facet, conditional=True) if g.name == name)
    (numbers,) = (g for g in analysed(facet, conditional=False) if g.name == name)
    assert sum(whole.rows) == GOLDEN["rows"]
    expected = GOLDEN[facet][golden]
    assert expected.keys() == METRICS.keys()
    for metric, value in expected.items():
        found = (numbers if metric == "FT" else whole).metrics[metric]
        assert isinstance(found, Value)
        assert found.value == pytest.approx(value, rel=1e-9, abs=1e-12), metric
        assert found.low <= found.value <= found.high


def measured(others: Table, group: Table) -> dict[str, Value | str]:
    """The metrics of two tables: of each label, how many are predicted negative and positive."""
    pairs = np.array([others, group])
    return measure(
        Tables(
            predictions=pairs.sum(axis=1)[None],
            labels=pairs.sum(axis=2)[None],
            pairs=pairs,
            flips="The flip test is not tried.",
            conditional=True,
        ),
        np.random.default_rng(0),
    )


@pytest.mark.parametrize(
    ("metric", "others", "group", "expected"),
    [
        # "the model recommended that 60 from facet a and 30 from facet d be given loans …"
        ("DCA", [[30, 0], [10, 60]], [[20, 10], [0, 20]], 1 / 2),
        ("DCA", [[40, 10], [0, 50]], [[10, 0], [10, 30]], -1 / 2),
        # "… be rejected"; "50 from facet a and 40 from facet d were rejected"
        ("DCR", [[50, 0], [10, 40]], [[30, 10], [0, 10]], 1 / 2),
        ("DCR", [[60, 10], [0, 30]], [[20, 0], [10, 20]], -1 / 2),
        # The confusion matrices of the recall difference.
        ("RD", [[20, 10], [5, 65]], [[18, 5], [7, 20]], 65 / 70 - 20 / 27),
        # "accepts 70 … of whom only 35", "100 … of whom only 40"
        ("DAR", [[30, 35], [0, 35]], [[0, 60], [0, 40]], 0.10),
        # "rejects 100 … of whom 80", "50 … of whom only 40"
        ("DRR", [[80, 0], [20, 0]], [[40, 0], [10, 0]], 0.0),
        ("AD", [[10, 10], [20, 60]], [[10, 10], [40, 40]], 0.2),
        # The same counts as in the page of TE, which has FP / FN and a - d, unlike smclarify.
        ("TE", [[43, 6], [8, 43]], [[21, 2], [5, 22]], 5 / 2 - 8 / 6),
        ("AD", [[43, 6], [8, 43]], [[21, 2], [5, 22]], 0.0),
        # "women applicants comprised 60% of the rejected … and only 50% of the accepted"
        ("CDDL", [[40, 0], [0, 50]], [[60, 0], [0, 50]], 0.1),
        ("CDDPL", [[40, 0], [0, 50]], [[60, 0], [0, 50]], 0.1),
    ],
)
def test_documented_examples(metric: str, others: Table, group: Table, expected: float) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-measure-post-training-bias.html"""
    found = measured(others, group)[metric]
    assert isinstance(found, Value)
    assert found.value == pytest.approx(expected, abs=1e-12)


def test_a_ratio_by_nothing_is_infinite_and_nothing_by_nothing_is_0() -> None:
    found = measured([[10, 0], [0, 0]], [[5, 5], [0, 0]])
    values = {name: value.value for name, value in found.items() if isinstance(value, Value)}
    assert values["DI"] == math.inf
    # The recall of either side is 0 / 0, so is the precision of the others.
    assert (values["RD"], values["DAR"]) == (0, 0)
    assert all(math.isfinite(value) for name, value in values.items() if name != "DI")
    both = measured([[10, 0], [5, 0]], [[10, 0], [5, 0]])["TE"]
    assert isinstance(both, Value)
    assert both.value == 0, "infinite on both sides"


@pytest.mark.parametrize(
    ("others", "group", "reasons"),
    [
        (
            [[8, 0], [4, 0]],
            [[3, 0], [2, 0]],
            {"CDDPL": "There is no positive outcome."},
        ),
        (
            [[0, 8], [0, 4]],
            [[0, 0], [0, 0]],
            dict.fromkeys({*METRICS} - {"FT", "GE"}, "The group is empty, or there are no others."),
        ),
        (
            [[5, 4], [0, 0]],
            [[0, 0], [3, 3]],
            dict.fromkeys(
                ("KL", "JS", "LP", "TVD", "KS"),
                "The group and the others have no outcome in common.",
            ),
        ),
        (
            [[0, 0], [5, 0]],
            [[0, 0], [5, 0]],
            {
                "GE": "All predictions are false negatives.",
                "CDDL": "There is no negative outcome.",
                "CDDPL": "There is no positive outcome.",
            },
        ),
    ],
)
def test_what_cannot_be_computed_says_why_and_spares_the_others(
    others: Table, group: Table, reasons: dict[str, str]
) -> None:
    found = measured(others, group)
    assert found.pop("FT") == "The flip test is not tried."
    told = {name: value for name, value in found.items() if isinstance(value, str)}
    assert told == reasons


def test_without_labels_the_predictions_are_measured() -> None:
    table = np.array([[[10, 5], [3, 4]]])
    tables = Tables(table, None, None, "No numbers.", conditional=False)
    found = measure(tables, np.random.default_rng(0))
    there = {name for name, value in found.items() if isinstance(value, Value)}
    assert there == {"CI", "DPPL", "DI"}
    assert found["AD"] == found["DPL"] == "There are no labels."
    assert found["CDDPL"] == "There is no group variable."


def test_intervals_hold_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 400 samples of small groups, about 95 % of the intervals hold what is the case."""
    monkeypatch.setattr(bias_metrics, "DRAWS", 500)
    generator = np.random.default_rng(5)
    # Others and group; label; prediction.
    truth = np.array([[[0.35, 0.1], [0.1, 0.15]], [[0.1, 0.08], [0.02, 0.1]]])
    exact = measured_of(truth * 1e9, generator)
    names = ("CI", "DPPL", "DI", "DCA", "DCR", "RD", "SD", "DAR", "DRR", "AD", "GE", "CDDPL")
    held = dict.fromkeys(names, 0)
    for _ in range(400):
        found = measured_of(generator.multinomial(300, truth.ravel()).reshape(2, 2, 2), generator)
        for name in names:
            held[name] += found[name].low <= exact[name].value <= found[name].high
    assert all(0.92 <= count / 400 <= 0.99 for count in held.values()), held


def measured_of(pairs: npt.NDArray[Any], generator: np.random.Generator) -> dict[str, Value]:
    """The metrics of counts by group, label and prediction."""
    tables = Tables(
        pairs.sum(axis=1)[None], pairs.sum(axis=2)[None], pairs, "Not tried.", conditional=True
    )
    return {k: v for k, v in measure(tables, generator).items() if isinstance(v, Value)}
