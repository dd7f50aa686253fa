"""One run: read the data, compare it with the baseline, write the reports."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local_aws.analyzer import constraints, dataset, merge, profile, quality, scripts
from local_aws.analyzer.settings import AnalysisError, Settings

Json = dict[str, Any]


def main() -> int:
    """Run, and return the exit status; a failure is told on standard error."""
    try:
        settings = Settings.read()
        message = merge.run(settings) if settings.get("ground_truth_source") else _analyse(settings)
        scripts.postprocess(settings)
    except AnalysisError as error:
        print(error, file=sys.stderr)
        return 1
    target = settings.ml / "output" / "message"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(message)
    print(message)
    return 0


def _analyse(settings: Settings) -> str:
    if settings.get("features_attribute"):
        raise AnalysisError("features_attribute: the local AWS takes all columns; leave it out")
    publish = settings.get("publish_cloudwatch_metrics") == "Enabled"
    if publish and not settings.get("sagemaker_monitoring_schedule_name"):
        raise AnalysisError(
            "CloudWatch publishing is available only for jobs from MonitoringSchedules."
        )
    limits = settings.baseline("constraints")
    kind = settings.get("analysis_type") or "DATA_QUALITY"
    if kind not in ("DATA_QUALITY", "MODEL_QUALITY"):
        raise AnalysisError(f"analysis_type: {kind!r} is not DATA_QUALITY or MODEL_QUALITY")
    try:
        run = _data_quality if kind == "DATA_QUALITY" else _model_quality
        measured, suggested, found, metrics = run(settings, limits)
    except KeyError as error:
        raise AnalysisError(f"baseline: constraints or statistics have no {error}") from None
    _write(settings.output / "statistics.json", measured)
    _write(settings.output / "constraints.json", suggested)
    if limits is None:
        return "Completed: Job completed successfully."
    _write(settings.output / "constraint_violations.json", {"violations": found})
    if publish:
        _publish(settings, metrics)
    for violation in found:
        name = violation.get("feature_name") or violation["metric_name"]
        print(f"{name}: {violation['constraint_check_type']}: {violation['description']}")
    if found:
        return f"CompletedWithViolations: Job completed successfully with {len(found)} violations."
    return "Completed: Job completed successfully with no violations."


Result = tuple[Json, Json, list[dict[str, str]], list[Json]]
"""Statistics, suggested constraints, violations and metrics."""


def _data_quality(settings: Settings, limits: Json | None) -> Result:
    if limits is None:
        measured, _ = profile.analyse(dataset.read(settings))
        return measured, constraints.suggest(measured), [], []
    baseline = settings.baseline("statistics")
    types = {entry["name"]: entry["inferred_type"] for entry in limits["features"]}
    measured, match = profile.analyse(dataset.read(settings, list(types)), types)
    suggested = constraints.suggest(measured)
    found = constraints.check(limits, baseline, measured, match)
    if limits.get("monitoring_config", {}).get("emit_metrics") == "Disabled":
        return measured, suggested, found, []
    distances = constraints.distances(limits, baseline, measured)
    return measured, suggested, found, list(_feature_metrics(measured, distances))


def _model_quality(settings: Settings, limits: Json | None) -> Result:
    measured = quality.measure(dataset.read(settings), settings)
    metrics: list[Json] = [
        {"MetricName": name, "Value": metric["value"]}
        for section in measured
        if section.endswith("_metrics")
        for name, metric in measured[section].items()
        if isinstance(metric.get("value"), float | int)
    ]
    found = quality.check(measured, limits) if limits else []
    return measured, quality.suggest(measured), found, metrics


def _feature_metrics(measured: Json, distances: Mapping[str, float]) -> Iterator[Json]:
    """Yield the metrics of each feature.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-cloudwatch.html
    """
    for feature in measured["features"]:
        name, counts = feature["name"], constraints.common(feature)
        numbers = feature.get("numerical_statistics", {})
        if "min" in numbers:
            yield {
                "MetricName": f"feature_data_{name}",
                "StatisticValues": {
                    "SampleCount": counts["num_present"],
                    "Sum": numbers["sum"],
                    "Minimum": numbers["min"],
                    "Maximum": numbers["max"],
                },
            }
        rows = counts["num_present"] + counts["num_missing"]
        yield {"MetricName": f"feature_non_null_{name}", "Value": counts["num_present"] / rows}
        if name in distances:
            yield {"MetricName": f"feature_baseline_drift_{name}", "Value": distances[name]}


def _publish(settings: Settings, metrics: list[Json]) -> None:
    """Leave the metrics where the platform takes them from.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-cloudwatch.html
    """
    schedule = settings.get("sagemaker_monitoring_schedule_name")
    dimensions = [{"Name": "MonitoringSchedule", "Value": schedule}]
    if endpoint := settings.get("sagemaker_endpoint_name"):
        dimensions.insert(0, {"Name": "Endpoint", "Value": endpoint})
    time = settings.get("metric_time") or f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    folder = settings.ml / "output" / "metrics" / "cloudwatch"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({**metric, "Timestamp": time, "Dimensions": dimensions}) for metric in metrics
    ]
    (folder / "cloudwatch_metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _write(path: Path, content: Json) -> None:
    """Write JSON, atomically: outputs may be uploaded at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=2))
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
