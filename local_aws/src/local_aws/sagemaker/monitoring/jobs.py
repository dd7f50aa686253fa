"""The processing jobs of a monitoring execution: their names, inputs and environment.

Their form is that of jobs that AWS's own schedules have started, and "Container Contract Inputs"
(https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-inputs.html).
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker.core import images, resources
from local_aws.sagemaker.jobs.processing import ProcessingRun
from local_aws.sagemaker.monitoring import timing
from local_aws.sagemaker.monitoring.definitions import Monitor
from local_aws.sagemaker.monitoring.inputs import Request, Window, s3_input

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_BASELINE = "/opt/ml/processing/baseline"
_MAX_NAME = 63
_METRICS = {
    "DataQuality": "data-metrics",
    "ModelQuality": "model-metrics",
    "ModelBias": "bias-metrics",
    "ModelExplainability": "explainability-metrics",
}
_DATA_PER_CALL = 1000

_log = logging.getLogger(__name__)


class MonitoringRun(ProcessingRun):
    """A processing job of a schedule: as any other, but its metrics reach CloudWatch."""

    namespace = ""

    def finish(self, exit_code: int) -> dict[str, Any]:
        """Do what all processing jobs do, and publish the metrics that the container has left."""
        fields = super().finish(exit_code)
        # Of the first host alone: those of the analyzer find the same.
        place = self.hosts[0].ml / "output" / "metrics" / "cloudwatch"
        files = [file for file in (place, *sorted(place.glob("*"))) if file.is_file()]
        try:
            lines = [line for file in files for line in file.read_text().splitlines()]
            data = [json.loads(line) for line in lines if line.strip()]
            for start in range(0, len(data), _DATA_PER_CALL):
                self.service.client("cloudwatch", self.storage.role_arn).put_metric_data(
                    Namespace=self.namespace, MetricData=data[start : start + _DATA_PER_CALL]
                )
        except (ValueError, ClientError, BotoCoreError) as error:
            _log.warning("metrics of %s are not published: %s", self.name, error)
        return fields


class Plan:
    """What one execution runs.

    Attributes:
        monitor: What the job definition says.
    """

    def __init__(
        self, service: Service, schedule: Mapping[str, Any], monitor: Monitor, scheduled: float
    ) -> None:
        self._service = service
        self._schedule = schedule
        self.monitor = monitor
        self._scheduled = datetime.fromtimestamp(scheduled, UTC)
        self._window = Window(service, monitor, *self._bounds())
        self._suffix = f"{self._scheduled:%Y%m%d%H%M}-{uuid.uuid4().hex[:24]}"

    def _bounds(self) -> tuple[datetime, datetime]:
        """Return the window: the schedule's, or the input's, or the time since the last one."""
        when = self._schedule["MonitoringScheduleConfig"]["ScheduleConfig"]
        base = self._scheduled
        if "DataAnalysisStartTime" in when:
            members = ("DataAnalysisStartTime", "DataAnalysisEndTime")
            start, end = (base + timing.offset(m, when[m]) for m in members)
            return start, end
        data = self.monitor.data
        start = base - timing.period(when["ScheduleExpression"])
        if "StartTimeOffset" in data:
            start = base + timing.offset("StartTimeOffset", data["StartTimeOffset"])
        end = base + timing.offset("EndTimeOffset", data.get("EndTimeOffset", "PT0H"))
        return start, end

    def requests(self) -> Iterator[Request]:
        """Yield the requests of the jobs that are to be run one after the other.

        Raises:
            ApiError: There is nothing to monitor.
        """
        if self._ground_truth:
            yield self._merge_request()
        yield self._monitor_request()

    def make(self, request: Request) -> MonitoringRun:
        """Store a job and return what runs it."""
        body = resources.create(
            self._service,
            "ProcessingJob",
            request,
            ProcessingJobStatus="InProgress",
            MonitoringScheduleArn=self._schedule["MonitoringScheduleArn"],
        )
        run = MonitoringRun(self._service, body)
        place = "Endpoints" if self.monitor.endpoint else "ModelMonitoring"
        run.namespace = f"aws/sagemaker/{place}/{_METRICS[self.monitor.type]}"
        return run

    # The two jobs

    def _merge_request(self) -> Request:
        environment = {
            "dataset_source": self.monitor.data["LocalPath"],
            "ground_truth_source": "/opt/ml/processing/groundtruth",
            "output_path": self.monitor.output["LocalPath"],
        }
        labels = self._window.labels(self._ground_truth, environment["ground_truth_source"])
        return {
            **self._common("groundtruth-merge"),
            "Environment": environment,
            "AppSpecification": {"ImageUri": images.merger(self.monitor.app["ImageUri"])},
            "ProcessingInputs": [*labels, *self._window.captured(self._window.place)],
            "ProcessingOutputConfig": self._output(self._merged, "EndOfJob"),
        }

    def _monitor_request(self) -> Request:
        app = self.monitor.app
        title = "model-monitoring"
        if self.monitor.name:
            title = {
                "DataQuality": "data-quality-monitoring",
                "ModelQuality": "model-quality-monitoring",
                "ModelBias": "model-bias-monitoring",
                "ModelExplainability": "model-explainability-monitoring",
            }[self.monitor.type]
        named = {
            key: app[key]
            for key in ("ImageUri", "ContainerEntrypoint", "ContainerArguments")
            if key in app
        }
        uri = "/".join(
            [
                self.monitor.output["S3Uri"].rstrip("/"),
                *([self.monitor.endpoint] if self.monitor.endpoint else []),
                self._schedule["MonitoringScheduleName"],
                f"{self._scheduled:%Y/%m/%d/%H}",
            ]
        )
        files = dict(self._files())
        return {
            **self._common(title),
            "Environment": {**self.monitor.environment, **self._environment(files)},
            "AppSpecification": named,
            "ProcessingInputs": [
                *(s3_input(name, uri, folder) for name, (uri, folder, _variable) in files.items()),
                *self._window.captured(self._merged if self._ground_truth else self._window.place),
            ],
            "ProcessingOutputConfig": self._output(
                uri, self.monitor.output.get("S3UploadMode", "Continuous")
            ),
        }

    def _common(self, title: str) -> Request:
        rest = {key: value for key, value in self.monitor.rest.items() if key != "KmsKeyId"}
        return {"ProcessingJobName": f"{title}-{self._suffix}"[:_MAX_NAME], **rest}

    def _output(self, uri: str, mode: str) -> Request:
        target = {"LocalPath": self.monitor.output["LocalPath"], "S3Uri": uri, "S3UploadMode": mode}
        config: Request = {"Outputs": [{"OutputName": "result", "S3Output": target}]}
        if "KmsKeyId" in self.monitor.rest:
            config["KmsKeyId"] = self.monitor.rest["KmsKeyId"]
        return config

    def _environment(self, files: Mapping[str, tuple[str, str, str]]) -> dict[str, str]:
        """Return the variables of the container contract."""
        data, kind = self.monitor.data, self.monitor.type
        found = {
            "dataset_format": json.dumps(self._format()),
            "dataset_source": data["LocalPath"],
            "output_path": self.monitor.output["LocalPath"],
            "start_time": timing.iso(self._window.start),
            "end_time": timing.iso(self._window.end),
            "metric_time": timing.iso(self._window.start),
            "publish_cloudwatch_metrics": self.monitor.environment.get(
                "publish_cloudwatch_metrics", "Enabled"
            ),
            "sagemaker_monitoring_schedule_name": self._schedule["MonitoringScheduleName"],
        }
        if self.monitor.endpoint:
            found["sagemaker_endpoint_name"] = self.monitor.endpoint
            found["sagemaker_endpoint_datacapture_prefix"] = self._window.place
        if kind != "DataQuality":
            found["analysis_type"] = {
                "ModelQuality": "MODEL_QUALITY",
                "ModelBias": "MODEL_BIAS",
                "ModelExplainability": "MODEL_EXPLAINABILITY",
            }[kind]
        attributes = {
            "problem_type": self.monitor.app.get("ProblemType"),
            "inference_attribute": data.get("InferenceAttribute"),
            "probability_attribute": data.get("ProbabilityAttribute"),
            "probability_threshold_attribute": data.get("ProbabilityThresholdAttribute"),
            "features_attribute": data.get("FeaturesAttribute"),
            "exclude_features_attribute": data.get("ExcludeFeaturesAttribute"),
        }
        found |= {name: str(value) for name, value in attributes.items() if value is not None}
        for uri, folder, variable in files.values():
            found[variable] = f"{folder}/{uri.rpartition('/')[2]}"
        return found

    def _format(self) -> dict[str, Any]:
        if self.monitor.endpoint or self._ground_truth:
            if self._ground_truth:
                return {"sagemakerMergeJson": {"captureIndexNames": ["endpointOutput"]}}
            return {"sagemakerCaptureJson": {"captureIndexNames": self._window.sides()}}
        given = self.monitor.data["DatasetFormat"]
        if "Csv" in given:
            return {"csv": {"header": given["Csv"].get("Header", False)}}
        if "Json" in given:
            return {"json": {"lines": given["Json"].get("Line", True)}}
        return {"parquet": {}}

    def _files(self) -> Iterator[tuple[str, tuple[str, str, str]]]:
        """Yield baseline, configuration and scripts: name, then URI, folder and variable."""
        baseline, app = self.monitor.baseline, self.monitor.app
        made = self._baselining_output(baseline.get("BaseliningJobName"))
        wanted = [("constraints", "ConstraintsResource", f"{_BASELINE}/constraints")]
        if self.monitor.type == "DataQuality":
            wanted.append(("statistics", "StatisticsResource", f"{_BASELINE}/stats"))
        for name, member, folder in wanted:
            uri = baseline.get(member, {}).get("S3Uri") or (made and f"{made}/{name}.json")
            if uri:
                # A prefix stands for the file that a baselining job writes.
                uri = uri if uri.endswith(".json") else f"{uri.rstrip('/')}/{name}.json"
                yield name, (uri, folder, f"baseline_{name}")
        for name, member, variable in (
            ("pre_processor_script", "RecordPreprocessorSourceUri", "record_preprocessor_script"),
            (
                "post_processor_script",
                "PostAnalyticsProcessorSourceUri",
                "post_analytics_processor_script",
            ),
            ("analysis_config", "ConfigUri", "analysis_config"),
        ):
            if member in app:
                yield name, (app[member], f"/opt/ml/processing/code/{name}", variable)

    def _baselining_output(self, job: str | None) -> str | None:
        if job is None:
            return None
        body = resources.require(self._service, "ProcessingJob", job)
        outputs = body.get("ProcessingOutputConfig", {}).get("Outputs", [])
        return str(outputs[0]["S3Output"]["S3Uri"]).rstrip("/") if outputs else None

    @property
    def _ground_truth(self) -> str:
        uri: str = self.monitor.input.get("GroundTruthS3Input", {}).get("S3Uri", "")
        return uri.rstrip("/")

    @property
    def _merged(self) -> str:
        return f"{self.monitor.output['S3Uri'].rstrip('/')}/merge"
