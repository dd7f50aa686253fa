"""How much each feature contributes to predictions, in a window and in the evaluation."""

from typing import Any

from dashboard.remembered import remembered
from ops import aws, models
from usecase import attributions
from usecase.monitors import MONITORS
from workflows import keys

MONITOR = "feature_attribution"

Contributions = dict[str, dict[str, float]]


@remembered(3600)
def of_window(execution: str) -> Contributions:
    """The mean absolute contribution of each feature, by label; empty of a window not judged."""
    folder = f"s3://{aws.bucket()}/{keys.MONITORING}{MONITOR}/{execution}"
    return _contributions(aws.find_json(f"{folder}/{attributions.NAME}"))


@remembered(3600)
def of_evaluation(version: int) -> Contributions:
    """The same of a version's test data; empty of one from before they were kept."""
    package: Any = aws.sagemaker().describe_model_package(ModelPackageName=models.find(version).arn)
    registered = next(each.registered for each in MONITORS if each.name == MONITOR)
    baseline = package.get("DriftCheckBaselines", {}).get(registered)
    return _contributions(baseline and aws.find_json(baseline["Constraints"]["S3Uri"]))


def _contributions(analysis: Any) -> Contributions:  # noqa: ANN401 - a JSON document
    if not analysis:
        return {}
    found = analysis["explanations"]["kernel_shap"]
    return {label: entry["global_shap_values"] for label, entry in found.items()}
