"""CloudWatch metrics of endpoints, sent in the background.

Source: "Monitor Amazon SageMaker AI with Amazon CloudWatch", endpoint invocation metrics.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker.core.batching import Batcher, may_pass

NAMESPACE = "AWS/SageMaker"

_VALUES_PER_DATUM = 150
_DATA_PER_CALL = 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observation:
    """One invocation: who answered, the container's status, and its time in microseconds.

    `status` is 0 when the container did not answer; such an invocation has no latency. `config` is
    the endpoint config that answered, `instances` how many instances the variant had.
    """

    endpoint: str
    variant: str
    status: int
    latency: int | None
    config: str = ""
    instances: int = 1


class PutsMetrics(Protocol):
    """What is used of a boto3 CloudWatch client."""

    def put_metric_data(self, *, Namespace: str, MetricData: list[dict[str, Any]]) -> object:  # noqa: N803 - boto3's
        """Send up to 1000 data."""


Datum = dict[str, Any]
"""One member of the MetricData of PutMetricData."""


class EndpointMetrics:
    """Sends Invocations, Invocation4XXErrors, Invocation5XXErrors, ModelLatency and others."""

    def __init__(self, cloudwatch: PutsMetrics, interval: float = 1.0) -> None:
        """Start the background thread.

        Args:
            cloudwatch: A boto3 CloudWatch client.
            interval: Seconds between two calls of PutMetricData.
        """
        self._cloudwatch = cloudwatch
        self._observations = Batcher[Observation | Datum](
            "endpoint-metrics", self._send, interval=interval
        )

    def observe(self, observation: Observation) -> None:
        """Count one invocation."""
        self._observations.put(observation)

    def put(self, name: str, value: float, unit: str, **dimensions: str) -> None:
        """Send one value of a metric of an endpoint.

        Args:
            name: MetricName.
            value: Its value now.
            unit: Count, Seconds, Microseconds, ...
            **dimensions: EndpointName and, where the metric has it, VariantName.
        """
        self._observations.put(
            {
                "MetricName": name,
                "Value": value,
                "Unit": unit,
                "Timestamp": datetime.now(UTC),
                "Dimensions": _dimensions(**dimensions),
            }
        )

    def setup_time(self, endpoint: str, variant: str) -> Callable[[int], None]:
        """Return what takes the microseconds of a serverless variant's ModelSetupTime."""

        def put(microseconds: int) -> None:
            names = {"EndpointName": endpoint, "VariantName": variant}
            self.put("ModelSetupTime", microseconds, "Microseconds", **names)

        return put

    def close(self) -> None:
        """Send all that is left."""
        self._observations.close()

    def _send(self, items: list[Observation | Datum]) -> list[Observation | Datum]:
        observations = [item for item in items if isinstance(item, Observation)]
        data = [item for item in items if not isinstance(item, Observation)]
        data += metric_data(observations, datetime.now(UTC))
        try:
            for start in range(0, len(data), _DATA_PER_CALL):
                self._cloudwatch.put_metric_data(
                    Namespace=NAMESPACE, MetricData=data[start : start + _DATA_PER_CALL]
                )
        except (BotoCoreError, ClientError) as error:
            if not may_pass(error):
                raise
            _log.warning("endpoint metrics will be sent again: %s", error)
            return items
        return []


def metric_data(observations: list[Observation], time: datetime) -> Iterator[Datum]:
    """Return the MetricData of PutMetricData for a list of observations.

    One set for each variant, and one for each endpoint config of it: an alarm can so watch the new
    fleet of a deployment alone ("Auto-Rollback Configuration and Monitoring").
    """
    groups = defaultdict(list)
    for observation in observations:
        names = {"EndpointName": observation.endpoint, "VariantName": observation.variant}
        groups[tuple(names.items())].append(observation)
        if observation.config:
            names["EndpointConfigName"] = observation.config
            groups[tuple(names.items())].append(observation)
    for dimensions, group in groups.items():
        common = {"Timestamp": time, "Dimensions": _dimensions(**dict(dimensions))}
        for datum in _counts(group):
            yield {**common, **datum}
        for datum in _latencies(group):
            yield {**common, **datum}


def _counts(group: list[Observation]) -> Iterator[Datum]:
    for name, values in (
        ("Invocations", [1.0] * len(group)),
        ("InvocationsPerInstance", [1 / item.instances for item in group]),
        ("Invocation4XXErrors", [float(400 <= item.status < 500) for item in group]),
        ("Invocation5XXErrors", [float(item.status >= 500 or item.status == 0) for item in group]),
    ):
        statistics = {
            "SampleCount": len(values),
            "Sum": sum(values),
            "Minimum": min(values),
            "Maximum": max(values),
        }
        yield {"MetricName": name, "Unit": "Count", "StatisticValues": statistics}


def _latencies(group: list[Observation]) -> Iterator[Datum]:
    counts = Counter(item.latency for item in group if item.latency is not None)
    latencies = list(counts.items())
    for start in range(0, len(latencies), _VALUES_PER_DATUM):
        part = latencies[start : start + _VALUES_PER_DATUM]
        yield {
            "MetricName": "ModelLatency",
            "Unit": "Microseconds",
            "Values": [float(value) for value, _count in part],
            "Counts": [float(count) for _value, count in part],
        }


def _dimensions(**names: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in names.items()]
