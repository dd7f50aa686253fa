"""Step caching: which former run of a step may stand for a new one.

Sources: "Caching pipeline steps" and "Default cache key attributes by pipeline step type" of the
developer guide (https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html,
.../pipelines-default-keys.html). What is compared are the values of the attributes listed there,
not what lies under an S3 URI; only successful runs of the same step of the same pipeline count.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.pipelines.expressions import DefinitionError, mapping

if TYPE_CHECKING:
    from local_aws.sagemaker.core.store import Store

CACHE = "PipelineStepCache"
"""Kind of the store's rows: the last successful run of a step with the same attributes."""

_DEFINITION_KEYS = {
    "AlgorithmSpecification",
    "HyperParameterRanges",
    "InputDataConfig",
    "StaticHyperParameters",
    "TuningObjective",
}
_KEYS: Mapping[str, set[str]] = {
    "Processing": {"AppSpecification", "Environment", "ProcessingInputs"},
    "Training": {
        "AlgorithmSpecification",
        "CheckpointConfig",
        "DebugHookConfig",
        "DebugRuleConfigurations",
        "Environment",
        "HyperParameters",
        "InputDataConfig",
    },
    "Tuning": {"HyperParameterTuningJobConfig", "TrainingJobDefinition", "TrainingJobDefinitions"},
    "Transform": {"DataProcessing", "Environment", "ModelName", "TransformInput"},
}
_DURATION = re.compile(
    r"P?(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?",
    re.ASCII | re.IGNORECASE,
)
_DAY = 86_400
# ISO 8601 leaves the length of years and months open.
_UNITS = (365 * _DAY, 30 * _DAY, 7 * _DAY, _DAY, 3_600, 60, 1)
_LONGEST_DURATION = 64


def check_cache_config(body: Mapping[str, Any]) -> None:
    """Check a step's CacheConfig.

    Raises:
        DefinitionError: It is of another form, or turned on without a lifetime.
    """
    config = mapping(body.get("CacheConfig") or {}, "CacheConfig")
    if not isinstance(config.get("Enabled", False), bool):
        raise DefinitionError("CacheConfig: Enabled must be true or false.")
    if config.get("ExpireAfter") is not None or config.get("Enabled"):
        duration(config.get("ExpireAfter"))


def duration(text: object) -> float:
    """Return the seconds of an ISO 8601 duration; the leading P may be missing, as in "30dT5h".

    Raises:
        DefinitionError: It is none.
    """
    short = isinstance(text, str) and len(text) <= _LONGEST_DURATION
    match = _DURATION.fullmatch(text) if isinstance(text, str) and short else None
    if match is None or not any(match.groups()):
        raise DefinitionError(
            f"CacheConfig: ExpireAfter must be an ISO 8601 duration such as PT1H or P30D, not "
            f"{text!r:.80}."
        )
    return float(
        sum(int(part or 0) * unit for part, unit in zip(match.groups(), _UNITS, strict=True))
    )


class Entry:
    """The place of one run of a step in its pipeline's cache."""

    def __init__(
        self, store: Store, pipeline: str, step: Mapping[str, Any], arguments: Mapping[str, Any]
    ) -> None:
        """Find the place.

        Args:
            store: All state.
            pipeline: The pipeline's ARN.
            step: The step as it stands in the definition.
            arguments: Its Arguments with their values.
        """
        chosen = {key: arguments[key] for key in _KEYS[step["Type"]] if key in arguments}
        if "TrainingJobDefinition" in chosen:
            whole = chosen["TrainingJobDefinition"]
            chosen["TrainingJobDefinition"] = {
                key: whole[key] for key in _DEFINITION_KEYS if key in whole
            }
        digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
        self._store, self._pipeline = store, pipeline
        self._name = f"{pipeline}/{step['Name']}/{step['Type']}/{digest}"
        self._lifetime = duration(step["CacheConfig"]["ExpireAfter"])

    def find(self) -> dict[str, Any] | None:
        """Return the former run's PipelineExecutionArn and Metadata; None if none is in time."""
        found = self._store.get(CACHE, self._name)
        if found is None or found["EndTime"] + self._lifetime <= time.time():
            return None
        return found

    def keep(self, execution: str, metadata: Mapping[str, Any]) -> None:
        """Remembers that the step has just succeeded."""
        run = {"PipelineExecutionArn": execution, "Metadata": metadata, "EndTime": time.time()}
        with self._store.transaction():
            if self._store.get(CACHE, self._name) is None:
                row = {"PipelineArn": self._pipeline, "Name": self._name, **run}
                self._store.insert(CACHE, self._name, self._name, row)
            else:
                self._store.update(CACHE, self._name, **run)


def caches(step: Mapping[str, Any]) -> bool:
    """Whether a step's results are to be taken from the cache, and kept in it.

    CacheConfig means nothing to types of steps that the page above does not list.
    """
    return bool((step.get("CacheConfig") or {}).get("Enabled")) and step["Type"] in _KEYS


def forget(store: Store, pipeline: str) -> None:
    """Empty the cache of a pipeline that is deleted."""
    for row in store.list(CACHE, PipelineArn=pipeline):
        store.delete(CACHE, row["Name"])
