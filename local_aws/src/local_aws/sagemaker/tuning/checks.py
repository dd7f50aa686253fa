"""What is asked of a hyperparameter tuning job beside AWS's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.jobs import training_checks
from local_aws.sagemaker.tuning import search

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_MAX_EPOCHS = 20_000
# Static hyperparameters that AWS takes the greatest number of epochs from (API reference,
# HyperbandStrategyConfig).
_EPOCHS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
# What a training job has of its definition. The others make its hyperparameters.
_OF_TUNING = (
    "DefinitionName",
    "TuningObjective",
    "HyperParameterRanges",
    "StaticHyperParameters",
    "HyperParameterTuningResourceConfig",
)


def check(service: Service, request: Mapping[str, Any]) -> None:
    """Refuse a tuning job that cannot be run here or that AWS would refuse.

    Args:
        service: The service.
        request: A CreateHyperParameterTuningJob request.

    Raises:
        ApiError: It names the member (ValidationException).
    """
    config = request["HyperParameterTuningJobConfig"]
    strategy = config["Strategy"]
    for member in ("WarmStartConfig", "Autotune"):
        if member in request:
            raise _refused(f"the local AWS has no {member}; leave it out")
    if strategy == "Bayesian":
        raise _refused("the local AWS has no Bayesian strategy; use Random, Hyperband or Grid")
    _check_early_stopping(config, strategy)
    criteria = config.get("TuningJobCompletionCriteria", {})
    if criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled":
        raise _refused("the local AWS does not detect convergence; leave out ConvergenceDetected")
    if ("TrainingJobDefinition" in request) == ("TrainingJobDefinitions" in request):
        raise _refused("give either TrainingJobDefinition or TrainingJobDefinitions")
    definitions = definitions_of(request)
    for definition in definitions:
        _check_definition(service, definition, strategy)
        if strategy == "Hyperband":
            epochs(config, definition)
    names = [definition.get("DefinitionName", "") for definition in definitions]
    if "TrainingJobDefinitions" in request and ("" in names or len(set(names)) < len(names)):
        raise _refused("each of several TrainingJobDefinitions needs a DefinitionName of its own")
    _check_limits(config, definitions)


def definitions_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the definitions of a tuning job, each with its objective and ranges."""
    config = body["HyperParameterTuningJobConfig"]
    if "TrainingJobDefinitions" in body:
        return [dict(definition) for definition in body["TrainingJobDefinitions"]]
    of_all = {
        "TuningObjective": config.get("HyperParameterTuningJobObjective"),
        "HyperParameterRanges": config.get("ParameterRanges"),
    }
    given = {name: value for name, value in of_all.items() if value is not None}
    return [{**given, **body["TrainingJobDefinition"]}]


def epochs(config: Mapping[str, Any], definition: Mapping[str, Any]) -> tuple[int, int]:
    """Return the least and the greatest number of epochs of a training job with Hyperband.

    Raises:
        ApiError: No greatest one is given, or they are wrong (ValidationException).
    """
    given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    static = definition.get("StaticHyperParameters", {})
    found = [static[name] for name in _EPOCHS if str(static.get(name, "")).isdecimal()]
    most = int(given.get("MaxResource", found[0] if found else 0))
    least = int(given.get("MinResource", 1))
    if not least <= most <= _MAX_EPOCHS:
        raise _refused(
            "Hyperband needs MaxResource in HyperbandStrategyConfig, or epochs among the "
            f"StaticHyperParameters: a number from MinResource ({least}) to {_MAX_EPOCHS}"
        )
    return least, most


def training_request(definition: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the CreateTrainingJob request of a definition, without its hyperparameters."""
    request = {key: value for key, value in definition.items() if key not in _OF_TUNING}
    if "HyperParameterTuningResourceConfig" in definition:
        config = definition["HyperParameterTuningResourceConfig"]
        first = config.get("InstanceConfigs", [{}])[0]  # the one that is preferred
        wanted = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
        both = {**config, **first}
        request["ResourceConfig"] = {key: both[key] for key in wanted if key in both}
    if "CheckpointConfig" in definition:
        # Jobs that run at the same time must not take each other's checkpoints.
        config = definition["CheckpointConfig"]
        request["CheckpointConfig"] = {**config, "S3Uri": f"{config['S3Uri'].rstrip('/')}/{name}"}
    return {**request, "TrainingJobName": name}


def _check_definition(service: Service, definition: Mapping[str, Any], strategy: str) -> None:
    for member in ("TuningObjective", "HyperParameterRanges"):
        if member not in definition:
            raise _refused(
                f"{member} is missing; with one TrainingJobDefinition give "
                "HyperParameterTuningJobObjective and ParameterRanges in "
                "HyperParameterTuningJobConfig"
            )
    ranges = definition["HyperParameterRanges"]
    search.check(ranges, strategy)
    static = definition.get("StaticHyperParameters", {})
    every = (*search.NUMERIC, search.CATEGORICAL)
    both = [i["Name"] for kind in every for i in ranges.get(kind, []) if i["Name"] in static]
    if both:
        raise _refused(f"hyperparameters are static and in a range: {both}")
    metrics = definition["AlgorithmSpecification"].get("MetricDefinitions", [])
    if definition["TuningObjective"]["MetricName"] not in [metric["Name"] for metric in metrics]:
        raise _refused(
            "A metric is required for this hyperparameter tuning job objective. Provide a metric "
            "in the metric definitions."
        )
    training_checks.check(service, training_request(definition, "name"))


def _check_early_stopping(config: Mapping[str, Any], strategy: str) -> None:
    if strategy == "Hyperband":
        if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
            raise _refused("TrainingJobEarlyStoppingType must be Off with Hyperband")
    elif "StrategyConfig" in config:
        raise _refused("StrategyConfig is for Hyperband only; leave it out")


def _check_limits(config: Mapping[str, Any], definitions: list[dict[str, Any]]) -> None:
    limits = config.get("ResourceLimits")
    if limits is None:
        raise _refused("ResourceLimits is missing in HyperParameterTuningJobConfig")
    count = limits.get("MaxNumberOfTrainingJobs")
    if config["Strategy"] == "Grid":
        size = sum(search.combinations(d["HyperParameterRanges"]) for d in definitions)
        if count not in (None, size):
            raise _refused(
                f"MaxNumberOfTrainingJobs must be the number of combinations, {size}, or left out "
                "with Grid"
            )
    elif count is None and "MaxRuntimeInSeconds" not in limits:
        raise _refused("give MaxNumberOfTrainingJobs or MaxRuntimeInSeconds in ResourceLimits")


def _refused(text: str) -> ApiError:
    return ApiError("ValidationException", text)
