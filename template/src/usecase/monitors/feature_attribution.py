"""Do the same features still decide?"""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from usecase import attributions, container
from usecase.config import UseCase
from usecase.contributions import Values, contributions, labels
from usecase.errors import UseCaseError
from usecase.evaluate import load_model
from usecase.monitors.attribution_settings import FeatureAttribution
from usecase.monitors.job import Leniency, Report, Subject, dropped, typed, upward
from usecase.monitors.results import Measurement

#: How often the rows are resampled, and the fraction of resamples that have to agree.
RESAMPLES, CONFIDENCE = 500, 0.99
#: The order of the features, which is Clarify's check, and one feature, which is ours.
ORDER, SILENCE = "feature_attribution_drift_check", "feature_silence_check"
#: Correlations nearer to 0 tell no direction.
LEAST_CORRELATION = 0.3
#: Of the least that stretches of the test data reach, a window must have this fraction.
MARGIN = 0.8


def judge(subject: Subject, use_case: UseCase) -> Report:
    """Explain the window's predictions and compare with those of the test data.

    Raises:
        UseCaseError: When the baseline cannot be read, or the model explains nothing.
    """
    baseline = container.read_json(subject.baseline / attributions.NAME)
    settings = use_case.monitors.feature_attribution
    made = typed(subject.reading.features, use_case)
    problems = dropped(subject.reading, settings.max_dropped)
    summary = f"{made.height} predictions"
    enough = made.height >= settings.min_predictions
    if not enough:
        few = f"{summary}, fewer than min_predictions = {settings.min_predictions}: not judged"
        if subject.served_partly:
            summary = f"{few}, as {subject.served_partly}"
        else:
            problems.append(f"There are {few}.")
    table = attributions.sample(made, settings.sample_rows)
    statistics: Mapping[str, Any] = {}
    found: list[dict[str, str]] = []
    measured: list[Measurement] = []
    turned: dict[str, list[str]] = {}
    if enough:
        values = explained(subject.model, table, use_case)
        statistics = attributions.analysis(values, table, use_case)
        try:
            for place, label in enumerate(labels(use_case)):
                parts = values[:, place, :-1]
                told = label, statistics, baseline, settings
                checks = [(None, ordered(parts, *told)), *silences(*told)]
                measured += [each for _, each in checks]
                found += [violation(label, name, each) for name, each in checks if each.violated]
                turned[label] = turns(label, statistics, baseline)
        except KeyError as error:
            message = f"baseline: {attributions.NAME} has no {error}"
            raise UseCaseError(message) from None
    if names := dict.fromkeys(name for features in turned.values() for name in features):
        summary += f"; {', '.join(names)} now work in the other direction"
    return Report(
        statistics=statistics,
        constraints=baseline,
        violations=found,
        judged=made.height if enough else 0,
        counts={"explained": table.height if enough else 0, "turned": turned},
        problems=problems,
        summary=summary,
        measured=measured,
        analysis=True,
    )


def leniency(
    _windows: Sequence[Sequence[Measurement]], _baseline: Path, use_case: UseCase
) -> Leniency:
    """How lenient the monitor is: as many times as now may the order differ, or a feature fade.

    Args:
        use_case: Has the thresholds.
    """
    settings = use_case.monitors.feature_attribution

    def needed(each: Measurement) -> float | None:
        if each.kind == ORDER and each.high is not None and settings.threshold < 1:
            return (1 - each.high) / (1 - settings.threshold)
        if each.kind == SILENCE and each.value is not None:
            return settings.silence / each.value if each.value else math.inf
        return None

    def section(times: float) -> Mapping[str, Any]:
        different = upward(min(1.0, times * (1 - settings.threshold)))
        return {
            "threshold": round(1 - different, 4),
            "silence": min(1.0, math.floor(10_000 * settings.silence / max(times, 1e-9)) / 10_000),
        }

    return Leniency(needed, section)


def explained(archive: Path, table: pl.DataFrame, use_case: UseCase) -> Values:
    """The contributions of the features of rows, by the model in a model.tar.gz."""
    with tempfile.TemporaryDirectory() as folder:
        container.extract(archive, Path(folder))
        model = load_model(Path(folder))
    return contributions(model, table.to_dict(), use_case)


def ordered(
    parts: Values,
    label: str,
    statistics: Mapping[str, Any],
    baseline: Mapping[str, Any],
    settings: FeatureAttribution,
) -> Measurement:
    """How well the order of the features agrees with that of the test data, by nDCG.

    Args:
        parts: The contributions, shape (rows, features).
        label: What they are contributions to the raw score of.
        statistics: What `attributions.analysis` made of them.
        baseline: What `attributions.describe` made of the test data.
        settings: The thresholds.
    """
    known, now = (
        document["explanations"]["kernel_shap"][label]["global_shap_values"]
        for document in (baseline, statistics)
    )
    ideal, absolute = np.array([*known.values()]), np.abs(parts)
    noise = baseline["extensions"]["noise"]["labels"].get(label, {"ndcg": 1.0})
    threshold = min(settings.threshold, noise["ndcg"])
    times = np.random.default_rng(0).multinomial(
        len(parts), np.full(len(parts), 1 / len(parts)), size=RESAMPLES
    )
    resampled = attributions.ndcg(ideal, times @ absolute / len(parts))
    score = float(attributions.ndcg(ideal, absolute.mean(axis=0)))
    # By chance alone the order of a few rows is another: nearly all resamples must agree.
    violated = bool(score < threshold and np.quantile(resampled, CONFIDENCE) < threshold)
    low, high = map(float, np.quantile(resampled, [0.025, 0.975]))
    message = (
        f"Feature attribution drift {score:.4f} exceeds threshold {threshold:.4g} for {label}: "
        f"the order was {ranking(known)}, is {ranking(now)}"
    )
    told = message if violated else ""
    return Measurement(f"shap of {label}", ORDER, score, threshold, low, high, violated, told)


def silences(
    label: str,
    statistics: Mapping[str, Any],
    baseline: Mapping[str, Any],
    settings: FeatureAttribution,
) -> Iterator[tuple[str, Measurement]]:
    """How far the contributions of each feature spread, as a fraction of those on the test data.

    Args:
        label: What they are contributions to the raw score of.
        statistics: What `attributions.analysis` made of the window.
        baseline: What `attributions.describe` made of the test data.
        settings: The thresholds.

    Returns:
        Each feature that contributed there, and what was measured: a feature of little spread
        contributes nearly the same whatever its value is.
    """
    noise = baseline["extensions"]["noise"]["labels"].get(label, {"spread": {}})
    before = baseline["extensions"]["labels"][label]["spread"]
    for name, spread in statistics["extensions"]["labels"][label]["spread"].items():
        if before[name] == 0:
            continue
        least, fraction = limit(name, noise, settings), spread / before[name]
        violated = fraction < least
        message = (
            f"The contributions of {name} to {label} spread over {spread:.4g}, less than "
            f"{least:.2g} of the {before[name]:.4g} of the test data"
        )
        told = message if violated else ""
        yield (
            name,
            Measurement(
                f"{name} of {label}", SILENCE, fraction, least, violated=violated, message=told
            ),
        )


def limit(name: str, noise: Mapping[str, Any], settings: FeatureAttribution) -> float:
    """The least spread of a feature's contributions that is no silence, as a fraction."""
    return min(settings.silence, MARGIN * float(noise["spread"].get(name, 1.0)))


def violation(label: str, feature: str | None, broken: Measurement) -> dict[str, str]:
    """An entry of constraint_violations.json.

    `feature_attribution_drift_check` is Clarify's: the order of the features is another.
    `feature_silence_check` is ours, and has the feature's name.
    """
    return {
        "label": label,
        **({"feature_name": feature} if feature else {}),
        "metric_name": "shap",
        "constraint_check_type": broken.kind,
        "description": broken.message,
    }


def ranking(values: Mapping[str, float]) -> str:
    """The features with the largest global values, in order."""
    return ", ".join(sorted(values, key=lambda name: -values[name])[:5])


def turns(label: str, statistics: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    """The features of which more now adds to a label where it took away, or the reverse."""
    now, before = (
        document["extensions"]["labels"][label]["direction"] for document in (statistics, baseline)
    )
    return [
        name
        for name, found in now.items()
        if min(abs(found), abs(before.get(name, 0.0))) >= LEAST_CORRELATION
        and found * before[name] < 0
    ]
