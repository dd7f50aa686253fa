"""Training jobs.

The container contract is that of "How Amazon SageMaker AI Provides Training Information"
(https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html)
and of the pages beside it on output and on signals of success and failure.
"""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker import events, job_checks, jobs, kinds, resources
from local_aws.sagemaker.container_job import ContainerRun
from local_aws.sagemaker.operations import on_resume, operation
from local_aws.sagemaker.protocol import ApiError

if TYPE_CHECKING:
    from local_aws.images import Image
    from local_aws.sagemaker.service import Service

_KIND = "TrainingJob"
_INSTANCE_GROUP = "homogeneousCluster"
_CHECKPOINTS = "/opt/ml/checkpoints"

# SecondaryStatus and its message, as DescribeTrainingJob shows them.
_PHASES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}

resources.declare(
    kinds.job(
        _KIND,
        "training-job",
        events.described("SageMaker Training Job State Change", events.milliseconds_text),
    ),
    "Describe",
    "List",
)


class TrainingRun(ContainerRun):
    """One run of a training job."""

    kind = _KIND
    log_group = "/aws/sagemaker/TrainingJobs"

    def __init__(self, service: Service, body: dict[str, Any]) -> None:
        super().__init__(service, body)
        definitions = self._algorithm.get("MetricDefinitions", [])
        self._metric_patterns = {d["Name"]: re.compile(d["Regex"]) for d in definitions}
        self._metrics: dict[str, dict[str, Any]] = {}

    @property
    def _algorithm(self) -> dict[str, Any]:
        algorithm: dict[str, Any] = self.body["AlgorithmSpecification"]
        return algorithm

    def image_uri(self) -> str:
        """Return the URI of the image to run."""
        uri: str = self._algorithm["TrainingImage"]
        return uri

    def prepare(self) -> None:
        """Write the configuration files and bring the channels in."""
        self._phase("Downloading", TrainingStartTime=time.time())
        for name in ("model", "output/data", "input/data"):
            (self.ml / name).mkdir(parents=True)
        self.write_json("input/config/hyperparameters.json", self.body.get("HyperParameters", {}))
        self.write_json("input/config/resourceconfig.json", self._resource_config())
        channels = self.body.get("InputDataConfig", [])
        self.write_json(
            "input/config/inputdataconfig.json", {c["ChannelName"]: _channel(c) for c in channels}
        )
        for channel in channels:
            source = channel["DataSource"]["S3DataSource"]
            folder = self.ml / "input" / "data" / channel["ChannelName"]
            self.storage.download(source["S3Uri"], folder, source["S3DataType"])
        checkpoints = self.body.get("CheckpointConfig")
        if checkpoints:
            saved = self.local_path(checkpoints.get("LocalPath", _CHECKPOINTS))
            self.storage.download(checkpoints["S3Uri"], saved, may_be_empty=True)

    def command(self, image: Image) -> list[str]:
        """Return the container's program and arguments; an image is run with ``train``."""
        return jobs.command_line(
            image,
            self._algorithm.get("ContainerEntrypoint", []),
            self._algorithm.get("ContainerArguments", ["train"]),
        )

    def environment(self) -> dict[str, str]:
        """Return the job's own environment."""
        self._phase("Training")
        return {
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.arn,
            **self.body.get("Environment", {}),
        }

    def see_line(self, line: str) -> None:
        """Look for metrics in a line of output; the last value of each is the final one."""
        super().see_line(line)
        for name, pattern in self._metric_patterns.items():
            for match in pattern.finditer(line):
                value = _number(match)
                if value is not None:
                    self._metrics[name] = {
                        "MetricName": name,
                        "Value": value,
                        "Timestamp": time.time(),
                    }

    def failure_text(self) -> str:
        """Return what the container wrote to ``/opt/ml/output/failure``."""
        path = self.ml / "output" / "failure"
        return path.read_text(errors="replace") if path.is_file() else ""

    def finish(self, exit_code: int) -> dict[str, Any]:
        """Upload ``output.tar.gz``, checkpoints and, unless the job failed, ``model.tar.gz``."""
        self._phase("Uploading")
        fields: dict[str, Any] = {}
        if self._metrics:
            self.update(FinalMetricDataList=list(self._metrics.values()))
        checkpoints = self.body.get("CheckpointConfig")
        if checkpoints:
            folder = self.local_path(checkpoints.get("LocalPath", _CHECKPOINTS))
            self.storage.upload(folder, checkpoints["S3Uri"])
        base = self.body["OutputDataConfig"]["S3OutputPath"].rstrip("/") + f"/{self.name}/output"
        data, model = self.ml / "output" / "data", self.ml / "model"
        if any(data.iterdir()):
            self.storage.upload_archive(
                data, f"{base}/output.tar.gz", self.folder / "output.tar.gz"
            )
        # A stopped job may have used its 120 seconds to save a model; AWS keeps that too.
        if exit_code == 0 or (self.stopping and any(model.iterdir())):
            self.storage.upload_archive(model, f"{base}/model.tar.gz", self.folder / "model.tar.gz")
            fields["ModelArtifacts"] = {"S3ModelArtifacts": f"{base}/model.tar.gz"}
        return fields

    def final_fields(self, status: str) -> dict[str, Any]:
        """Return the last phase and the times."""
        now = time.time()
        phase = "MaxRuntimeExceeded" if status == "Stopped" and self.timed_out else status
        seconds = math.ceil(now - self.body.get("TrainingStartTime", now))
        return {
            "TrainingEndTime": now,
            "TrainingTimeInSeconds": seconds,
            "BillableTimeInSeconds": seconds,
            **_next_phase(self.body, phase, now),
        }

    def _phase(self, phase: str, **fields: object) -> None:
        with self.service.store.transaction():
            stored = resources.require(self.service, _KIND, self.arn)
            if stored["TrainingJobStatus"] == "InProgress":
                fields |= _next_phase(stored, phase, time.time())
            self.update(**fields)

    def _resource_config(self) -> dict[str, Any]:
        instance_type = self.body["ResourceConfig"].get("InstanceType", "ml.m5.large")
        return {
            "current_host": jobs.HOST,
            "current_instance_type": instance_type,
            "current_group_name": _INSTANCE_GROUP,
            "hosts": [jobs.HOST],
            "instance_groups": [
                {
                    "instance_group_name": _INSTANCE_GROUP,
                    "instance_type": instance_type,
                    "hosts": [jobs.HOST],
                }
            ],
            # The interface of a program's own traffic must be one that this host has.
            "network_interface_name": "lo",
        }


def _channel(channel: dict[str, Any]) -> dict[str, str]:
    source = channel["DataSource"]["S3DataSource"]
    entry = {
        "TrainingInputMode": "File",
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    if "ContentType" in channel:
        entry["ContentType"] = channel["ContentType"]
    return entry


def _number(match: re.Match[str]) -> float | None:
    """Read the value that a metric's pattern caught: its first group, or all of it."""
    try:
        value = float(match.group(1) if match.re.groups else match.group())
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _next_phase(body: dict[str, Any], phase: str, now: float) -> dict[str, Any]:
    """Return SecondaryStatus and its history with a new phase begun."""
    history = [dict(entry) for entry in body.get("SecondaryStatusTransitions", [])]
    if history:
        history[-1].setdefault("EndTime", now)
    entry = {"Status": phase, "StartTime": now, "StatusMessage": _PHASES[phase]}
    if phase in ("Completed", "Failed", "Stopped", "MaxRuntimeExceeded"):
        entry["EndTime"] = now
    return {"SecondaryStatus": phase, "SecondaryStatusTransitions": [*history, entry]}


@operation("CreateTrainingJob")
def _create(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    config = job_checks.required("resourceConfig", request, "ResourceConfig")
    job_checks.check_single_instance("resourceConfig", config)
    algorithm = job_checks.required("algorithmSpecification", request, "AlgorithmSpecification")
    if "TrainingImage" not in algorithm:
        raise ApiError(
            "ValidationException",
            "algorithmSpecification: the local AWS has no AlgorithmName resources; "
            "give TrainingImage",
        )
    channels = request.get("InputDataConfig", [])
    job_checks.check_unique("ChannelName", [channel["ChannelName"] for channel in channels])
    for channel in channels:
        mode = channel.get("InputMode", algorithm["TrainingInputMode"])
        _check_channel(channel, mode)
    for definition in algorithm.get("MetricDefinitions", []):
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise ApiError(
                "ValidationException",
                f"Metric {definition['Name']!r}: Regex {definition['Regex']!r}: {error}",
            ) from None
    checkpoints = request.get("CheckpointConfig", {})
    job_checks.check_local_path(
        "CheckpointConfig", checkpoints.get("LocalPath", _CHECKPOINTS), "/opt/ml"
    )
    jobs.resolve_image(service, algorithm["TrainingImage"])
    body = resources.create(
        service,
        _KIND,
        request,
        TrainingJobStatus="InProgress",
        **_next_phase({}, "Starting", time.time()),
    )
    TrainingRun(service, body).start()
    return body


def _check_channel(channel: dict[str, Any], mode: str) -> None:
    name = channel["ChannelName"]
    if "S3DataSource" not in channel["DataSource"]:
        raise ApiError(
            "ValidationException",
            f"Channel {name!r}: the local AWS reads channels from S3 only; give S3DataSource",
        )
    # FastFile differs from File only in when the bytes arrive.
    if mode not in ("File", "FastFile"):
        raise ApiError(
            "ValidationException",
            f"Channel {name!r}: the local AWS has no input mode {mode}; use File or FastFile",
        )
    kind = channel["DataSource"]["S3DataSource"]["S3DataType"]
    if kind not in ("S3Prefix", "ManifestFile"):
        raise ApiError(
            "ValidationException",
            f"Channel {name!r}: the local AWS has no S3DataType {kind}; "
            "use S3Prefix or ManifestFile",
        )
    if channel.get("CompressionType", "None") != "None":
        raise ApiError(
            "ValidationException",
            f"Channel {name!r}: CompressionType is for Pipe mode; leave it out",
        )


@operation("StopTrainingJob")
def _stop(service: Service, request: dict[str, Any]) -> None:
    name = request["TrainingJobName"]
    with service.store.transaction():
        body = resources.require(service, _KIND, name)
        jobs.stop_job(service, _KIND, name, **_next_phase(body, "Stopping", time.time()))


@operation("DeleteTrainingJob")
def _delete(service: Service, request: dict[str, Any]) -> None:
    jobs.delete_job(service, _KIND, request["TrainingJobName"])


@on_resume
def _resume(service: Service) -> None:
    jobs.fail_left_over(service, _KIND, TrainingEndTime=time.time(), SecondaryStatus="Failed")
