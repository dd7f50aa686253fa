"""CloudWatch metrics of endpoints, sent in the background.

Source: "Monitor Amazon SageMaker AI with Amazon CloudWatch", endpoint invocation metrics.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from local_aws.sagemaker.batching import UNREACHABLE, Batcher

NAMESPACE = "AWS/SageMaker"

_VALUES_PER_DATUM = 150
_DATA_PER_CALL = 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observation:
    """One invocation: who answered, the container's status, and its time in microseconds.

    `status` is 0 when the container did not answer; such an invocation has no latency.
    """

    endpoint: str
    variant: str
    status: int
    latency: int | None


class PutsMetrics(Protocol):
    """What is used of a boto3 CloudWatch client."""

    def put_metric_data(self, *, Namespace: str, MetricData: list[dict[str, Any]]) -> object:  # noqa: N803 - boto3's
        """Sends up to 1000 data."""


class EndpointMetrics:
    """Sends Invocations, Invocation4XXErrors, Invocation5XXErrors and ModelLatency."""

    def __init__(self, cloudwatch: PutsMetrics, interval: float = 1.0) -> None:
        """Starts the background thread.

        Args:
            cloudwatch: a boto3 CloudWatch client.
            interval: seconds between two calls of PutMetricData.
        """
        self._cloudwatch = cloudwatch
        self._observations = Batcher[Observation]("endpoint-metrics", self._send, interval=interval)

    def observe(self, observation: Observation) -> None:
        """Counts one invocation."""
        self._observations.put(observation)

    def close(self) -> None:
        """Sends all that is left."""
        self._observations.close()

    def _send(self, observations: list[Observation]) -> list[Observation]:
        data = list(metric_data(observations, datetime.now(UTC)))
        try:
            for start in range(0, len(data), _DATA_PER_CALL):
                self._cloudwatch.put_metric_data(
                    Namespace=NAMESPACE, MetricData=data[start : start + _DATA_PER_CALL]
                )
        except UNREACHABLE as error:
            _log.warning("endpoint metrics will be sent again: %s", error)
            return observations
        return []


def metric_data(observations: list[Observation], time: datetime) -> Iterator[dict[str, Any]]:
    """The MetricData of PutMetricData for a list of observations, one set for each variant."""
    variants = defaultdict(list)
    for observation in observations:
        variants[observation.endpoint, observation.variant].append(observation)
    for (endpoint, variant), group in variants.items():
        common = {
            "Timestamp": time,
            "Dimensions": [
                {"Name": "EndpointName", "Value": endpoint},
                {"Name": "VariantName", "Value": variant},
            ],
        }
        client_errors = [400 <= item.status < 500 for item in group]
        server_errors = [item.status >= 500 or item.status == 0 for item in group]
        for name, hits in (
            ("Invocations", [True] * len(group)),
            ("Invocation4XXErrors", client_errors),
            ("Invocation5XXErrors", server_errors),
        ):
            statistics = {
                "SampleCount": len(hits),
                "Sum": sum(hits),
                "Minimum": int(min(hits)),
                "Maximum": int(max(hits)),
            }
            yield {**common, "MetricName": name, "Unit": "Count", "StatisticValues": statistics}
        latencies = list(
            Counter(item.latency for item in group if item.latency is not None).items()
        )
        for start in range(0, len(latencies), _VALUES_PER_DATUM):
            part = latencies[start : start + _VALUES_PER_DATUM]
            yield {
                **common,
                "MetricName": "ModelLatency",
                "Unit": "Microseconds",
                "Values": [float(value) for value, _count in part],
                "Counts": [float(count) for _value, count in part],
            }
