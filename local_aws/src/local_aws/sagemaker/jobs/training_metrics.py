"""The metrics that a training job's MetricDefinitions find in its output.

They go to CloudWatch where the SageMaker SDK's TrainingJobAnalytics looks for them.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

NAMESPACE = "/aws/sagemaker/TrainingJobs"
_DATA_PER_CALL = 1000
_INTERVAL_SECONDS = 1.0

_log = logging.getLogger(__name__)


class TrainingMetrics:
    """Finds the metrics in lines of output, which may come from several threads.

    Attributes:
        final: The last value of each metric, as FinalMetricDataList shows it.
        values: All values of each metric, in their order.
    """

    def __init__(
        self, service: Service, job: str, definitions: Sequence[Mapping[str, str]]
    ) -> None:
        """Begin without values.

        Args:
            service: The service, for its CloudWatch client.
            job: The training job's name.
            definitions: Its MetricDefinitions.
        """
        self._service = service
        self._job = job
        self._patterns = {d["Name"]: re.compile(d["Regex"]) for d in definitions}
        self._lock = threading.Lock()
        self._unsent: list[dict[str, Any]] = []
        self._sent_at = time.monotonic()
        self._broken = False
        self.final: dict[str, dict[str, Any]] = {}
        self.values: dict[str, list[float]] = {d["Name"]: [] for d in definitions}

    def see_line(self, line: str) -> None:
        """Look for metrics in a line; the last value of each is the final one."""
        for name, pattern in self._patterns.items():
            for match in pattern.finditer(line):
                value = _number(match)
                if value is not None:
                    self._add(name, value)
        if self._unsent and time.monotonic() - self._sent_at > _INTERVAL_SECONDS:
            self.send()

    def send(self) -> None:
        """Send to CloudWatch what was found since the last time."""
        with self._lock:
            data, self._unsent, self._sent_at = self._unsent, [], time.monotonic()
        if self._broken:
            return
        try:
            for at in range(0, len(data), _DATA_PER_CALL):
                self._service.client("cloudwatch").put_metric_data(
                    Namespace=NAMESPACE, MetricData=data[at : at + _DATA_PER_CALL]
                )
        except (ClientError, BotoCoreError) as error:
            self._broken = True
            _log.warning("CloudWatch takes no metrics of %s: %s", self._job, error)

    def _add(self, name: str, value: float) -> None:
        now = time.time()
        datum = {
            "MetricName": name,
            "Dimensions": [{"Name": "TrainingJobName", "Value": self._job}],
            "Timestamp": datetime.fromtimestamp(now, UTC),
            "Value": value,
        }
        with self._lock:
            self._unsent.append(datum)
            self.values[name].append(value)
            self.final[name] = {"MetricName": name, "Value": value, "Timestamp": now}


def _number(match: re.Match[str]) -> float | None:
    """Read the value that a metric's pattern caught: its first group, or all of it."""
    try:
        value = float(match.group(1) if match.re.groups else match.group())
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
