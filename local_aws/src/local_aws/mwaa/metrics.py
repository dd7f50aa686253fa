"""The metric of MWAA that tells whether an environment lives, which alarms watch.

MWAA User Guide, "Apache Airflow environment metrics in CloudWatch": SchedulerHeartbeat of the
namespace AmazonMWAA. Of the other metrics there are none here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from local_aws.mwaa.airflow_process import NoAnswerError

if TYPE_CHECKING:
    from local_aws.mwaa.airflow_process import Airflow
    from local_aws.sagemaker.core.service import Acting

NAMESPACE = "AmazonMWAA"
_PERIOD_SECONDS = 60.0


class Heartbeat:
    """The heartbeat of one environment's scheduler, once a minute."""

    def __init__(self, acting: Acting, environment: str) -> None:
        """Begin.

        Args:
            acting: The service with the environment's role.
            environment: Its name.
        """
        self._acting = acting
        self._dimensions = [
            {"Name": "Function", "Value": "Scheduler"},
            {"Name": "Environment", "Value": environment},
        ]
        self._next = 0.0
        self._last = ""

    def follow(self, airflow: Airflow) -> None:
        """Send a value if it is time to, and the scheduler has beaten since the last one."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PERIOD_SECONDS
        try:
            _, health = airflow.call("GET", "/monitor/health")
        except NoAnswerError:
            return
        beat = health["scheduler"]["latest_scheduler_heartbeat"]
        if beat and beat != self._last:
            self._last = beat
            value = {"MetricName": "SchedulerHeartbeat", "Value": 1.0, "Unit": "Count"}
            self._acting.client("cloudwatch").put_metric_data(
                Namespace=NAMESPACE, MetricData=[{**value, "Dimensions": self._dimensions}]
            )
