"""Which failures of a step its RetryPolicies try again, and when.

Source: "Retry Policy for Pipeline Steps" of the developer guide
(https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html), and what the SDK
emits. Unlike AWS, which retries faults of its own services without a policy too, nothing is tried
again that no policy names: here such a fault is worth seeing at once.
"""

import time
from collections.abc import Mapping
from typing import Any

from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.pipelines.expressions import DefinitionError, mapping, sequence

SERVICE_FAULT = "Step.SERVICE_FAULT"
THROTTLING = "Step.THROTTLING"
JOB_INTERNAL_ERROR = "SageMaker.JOB_INTERNAL_ERROR"
CAPACITY_ERROR = "SageMaker.CAPACITY_ERROR"
RESOURCE_LIMIT = "SageMaker.RESOURCE_LIMIT"

RETRYABLE = frozenset(
    {"Processing", "Training", "Tuning", "Transform", "Model", "RegisterModel", "EndpointConfig"}
)
"""The step types that may have RetryPolicies, of those that run here."""

_TYPES = (SERVICE_FAULT, THROTTLING, JOB_INTERNAL_ERROR, CAPACITY_ERROR, RESOURCE_LIMIT)
_DEFAULTS = {"IntervalSeconds": 1, "BackoffRate": 2.0, "MaxAttempts": 5}
_MAXIMA = {
    "IntervalSeconds": 43_200,
    "BackoffRate": float("inf"),
    "MaxAttempts": 20,
    "ExpireAfterMin": 14_400,
}
_LONGEST_WAIT = 14_400 * 60.0
_SECONDS_PER_MINUTE = 60


def check_retry_policies(body: Mapping[str, Any]) -> None:
    """Check a step's RetryPolicies.

    Raises:
        DefinitionError: They are of another form, out of bounds, or not for this type of step.
    """
    policies = sequence(body.get("RetryPolicies") or [], "RetryPolicies")
    if policies and body["Type"] not in RETRYABLE:
        raise DefinitionError(
            f"RetryPolicies are for steps of types {', '.join(sorted(RETRYABLE))}."
        )
    for entry in policies:
        policy = mapping(entry, "an entry of RetryPolicies")
        unknown = sorted(policy.keys() - _MAXIMA.keys() - {"ExceptionType"})
        if unknown:
            raise DefinitionError(f"Unknown member '{unknown[0]}' in RetryPolicies.")
        kinds = sequence(policy.get("ExceptionType"), "ExceptionType of RetryPolicies")
        for kind in kinds:
            if kind not in _TYPES:
                raise DefinitionError(
                    f"ExceptionType of RetryPolicies must be of {', '.join(_TYPES)}, not "
                    f"{kind!r:.80}."
                )
        if "MaxAttempts" in policy and "ExpireAfterMin" in policy:
            raise DefinitionError(
                "Give one of MaxAttempts and ExpireAfterMin in an entry of RetryPolicies."
            )
        for member, maximum in _MAXIMA.items():
            _check_number(member, policy.get(member, 0), maximum)


def _check_number(member: str, value: object, maximum: float) -> None:
    number = int | float if member == "BackoffRate" else int
    if isinstance(value, bool) or not isinstance(value, number) or not 0 <= value <= maximum:
        raise DefinitionError(
            f"{member} of RetryPolicies must be a number from 0 to {maximum}, not {value!r:.80}."
        )


def failure_of_call(error: ApiError) -> str | None:
    """Return the type of exception that an operation's error is to a policy, if it is one."""
    if error.code == "ResourceLimitExceeded":
        return RESOURCE_LIMIT
    if error.code == "ThrottlingException":
        return THROTTLING
    return SERVICE_FAULT if error.status in (500, 503) else None


def failure_of_job(step_type: str, reason: str) -> str | None:
    """Return the type of exception that a job's FailureReason is to a policy, if it is one."""
    if reason.startswith("InternalServerError"):
        # A tuning job tries its training jobs again by itself, says the page above.
        return None if step_type == "Tuning" else JOB_INTERNAL_ERROR
    if reason.startswith("CapacityError"):
        return CAPACITY_ERROR
    return RESOURCE_LIMIT if reason.startswith("ResourceLimitExceeded") else None


class Retries:
    """The retries of one step in one execution."""

    def __init__(self, policies: list[dict[str, Any]]) -> None:
        """Start the step's time; `policies` are checked RetryPolicies."""
        self._policies = [_DEFAULTS | policy for policy in policies]
        self._counts = [0] * len(policies)
        self._start = time.monotonic()

    def delay(self, exception_type: str | None) -> float | None:
        """Return the seconds to wait before the step is tried again; None if it is not."""
        for number, policy in enumerate(self._policies):
            if exception_type not in policy["ExceptionType"]:
                continue
            count = self._counts[number]
            if "ExpireAfterMin" in policy:
                passed = time.monotonic() - self._start
                if passed >= policy["ExpireAfterMin"] * _SECONDS_PER_MINUTE:
                    return None
            elif count >= policy["MaxAttempts"]:
                return None
            self._counts[number] += 1
            try:
                wait: float = policy["IntervalSeconds"] * policy["BackoffRate"] ** count
            except OverflowError:
                return _LONGEST_WAIT
            return min(wait, _LONGEST_WAIT)
        return None
