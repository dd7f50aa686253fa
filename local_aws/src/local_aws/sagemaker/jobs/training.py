"""Training jobs.

The container contract is that of "How Amazon SageMaker AI Provides Training Information"
(https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html)
and of the pages beside it on output and on signals of success and failure.
"""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core import events, kinds, resources
from local_aws.sagemaker.core.loops import repeat
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.jobs import jobs, training_checks
from local_aws.sagemaker.jobs.checkpoints import Checkpoints
from local_aws.sagemaker.jobs.container_job import MAX_RUNTIME, ContainerRun, read_text
from local_aws.sagemaker.jobs.training_metrics import TrainingMetrics

if TYPE_CHECKING:
    from local_aws.images.images import Image
    from local_aws.sagemaker.core.service import Service
    from local_aws.sagemaker.jobs.hosts import Host

_KIND = "TrainingJob"
_INSTANCE_GROUP = "homogeneousCluster"
_MAX_WAIT = "MaxWaitTimeExceeded"
_LAST_PHASES = ("Completed", "Failed", "Stopped", MAX_RUNTIME, _MAX_WAIT)
_WATCH_SECONDS = 0.5

INTERRUPT = "interrupt"
"""File in a spot training job's folder that asks for an interruption."""

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
    "Interrupted": "Training job interrupted: its instances were taken away",
    MAX_RUNTIME: "Training job runtime exceeded MaxRuntimeInSeconds provided",
    _MAX_WAIT: "Training job exceeded MaxWaitTimeInSeconds provided",
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
    """One run of a training job.

    Attributes:
        metrics: What its MetricDefinitions have found so far.
    """

    kind = _KIND
    log_group = "/aws/sagemaker/TrainingJobs"

    def __init__(self, service: Service, body: dict[str, Any]) -> None:
        super().__init__(service, body, body["ResourceConfig"])
        definitions = self._algorithm.get("MetricDefinitions", [])
        self.metrics = TrainingMetrics(service, self.name, definitions)
        self._runtime = body.get("_Runtime", 0.0)
        self._interrupted = threading.Event()
        config = body.get("CheckpointConfig")
        self._checkpoints = Checkpoints(self.storage, config, self.hosts) if config else None

    @property
    def _algorithm(self) -> dict[str, Any]:
        algorithm: dict[str, Any] = self.body["AlgorithmSpecification"]
        return algorithm

    def interrupt(self) -> None:
        """Take the spot instances away: the job starts over, from its checkpoints if it has any.

        Containers get SIGTERM and two minutes, as EC2 gives notice. If none runs nothing happens.
        """
        if not self._containers_run():
            return
        self._interrupted.set()
        self.end_processes(self.service.settings.stop_grace_seconds)

    def survives(self) -> bool:
        """Whether the job starts over when the local AWS does."""
        return may_start_over(self.body) and not self.exceeded

    def time_limits(self) -> dict[str, float]:
        """Add the time that a spot training job may take with all its interruptions."""
        limits = super().time_limits()
        wait = self.body.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
        if wait is not None:
            limits[_MAX_WAIT] = self.body["CreationTime"] + wait - time.time()
        return limits

    def work(self) -> dict[str, Any]:
        """Run the containers, and once more after each interruption."""
        if self.body.get("EnableManagedSpotTraining"):
            self.service.submit(self._watch)
        while True:
            fields = self._attempt()
            if self.stopping or not self._interrupted.is_set():
                return fields
            self._interrupted.clear()
            self._phase("Interrupted")
            self.start_over()
            self._phase("Starting")

    def _attempt(self) -> dict[str, Any]:
        begun = self.body.get("TrainingStartTime") or time.time()
        self._phase("Downloading", TrainingStartTime=begun)
        if not self._checkpoints:
            return super().work()
        self._checkpoints.restore()
        try:
            return super().work()
        finally:
            self._checkpoints.end()  # if no container has come so far as to finish

    def _goes_on(self) -> bool:
        """Whether the containers have ended only for now."""
        if self.stopping:
            return self.aborting and self.survives()
        return self._interrupted.is_set()

    def image_uri(self) -> str:
        """Return the URI of the image to run."""
        uri: str = self._algorithm["TrainingImage"]
        return uri

    def prepare(self, host: Host) -> None:
        """Write the configuration files and bring the channels in."""
        for name in ("model", "output/data", "input/data"):
            (host.ml / name).mkdir(parents=True)
        hyperparameters = self.body.get("HyperParameters", {})
        self.write_json(host, "input/config/hyperparameters.json", hyperparameters)
        self.write_json(host, "input/config/resourceconfig.json", self._resource_config(host))
        channels = self.body.get("InputDataConfig", [])
        config = {c["ChannelName"]: _channel(c) for c in channels}
        self.write_json(host, "input/config/inputdataconfig.json", config)
        for channel in channels:
            source = channel["DataSource"]["S3DataSource"]
            folder = host.ml / "input" / "data" / channel["ChannelName"]
            share = self.share(source, host)
            self.storage.download(source["S3Uri"], folder, source["S3DataType"], share=share)

    def command(self, image: Image) -> list[str]:
        """Return the container's program and arguments; an image is run with `train`."""
        return jobs.command_line(
            image,
            self._algorithm.get("ContainerEntrypoint", []),
            self._algorithm.get("ContainerArguments", ["train"]),
        )

    def containers_start(self) -> None:
        """Begin to keep checkpoints in S3."""
        self._phase("Training")
        if self._checkpoints:
            self._checkpoints.start()

    def environment(self) -> dict[str, str]:
        """Return the job's own environment."""
        return {
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.arn,
            **self.body.get("Environment", {}),
        }

    def see_line(self, line: str) -> None:
        """Look for metrics in a line of output."""
        self.metrics.see_line(line)

    def failure_text(self, host: Host) -> str:
        """Return what the container wrote to `/opt/ml/output/failure`."""
        return read_text(host.ml / "output" / "failure")

    def finish(self, exit_code: int) -> dict[str, Any]:
        """Upload `output.tar.gz`, checkpoints and, unless the job failed, `model.tar.gz`.

        What several hosts wrote to the same folder is put into one archive
        ("Amazon SageMaker AI Training Storage Folders", Tips and considerations).
        """
        if self._checkpoints:
            self._checkpoints.close()
        if self._goes_on():
            self.update(_Runtime=self._runtime)
            return {}
        self._phase("Uploading")
        self.metrics.send()
        fields: dict[str, Any] = {}
        if self.metrics.final:
            final = list(self.metrics.final.values())
            values = self.metrics.values if "TuningJobArn" in self.body else None
            self.update(FinalMetricDataList=final, _MetricValues=values)
        base = self.body["OutputDataConfig"]["S3OutputPath"].rstrip("/") + f"/{self.name}/output"
        data = [host.ml / "output" / "data" for host in self.hosts]
        model = [host.ml / "model" for host in self.hosts]
        if _any_file(data):
            self.storage.upload_archive(
                data, f"{base}/output.tar.gz", self.folder / "output.tar.gz"
            )
        # A stopped job may have used its 120 seconds to save a model; AWS keeps that too.
        if exit_code == 0 or (self.stopping and _any_file(model)):
            self.storage.upload_archive(model, f"{base}/model.tar.gz", self.folder / "model.tar.gz")
            fields["ModelArtifacts"] = {"S3ModelArtifacts": f"{base}/model.tar.gz"}
        return fields

    def final_fields(self, status: str) -> dict[str, Any]:
        """Return the last phase and the times."""
        now = time.time()
        phase = self.exceeded if status == "Stopped" and self.exceeded else status
        started = self.body.get("TrainingStartTime", now)
        seconds = math.ceil(now - started)
        return {
            "TrainingEndTime": now,
            "TrainingTimeInSeconds": seconds,
            "BillableTimeInSeconds": min(seconds, math.ceil(now - started - _lost(self.body))),
            **next_phase(self.body, phase, now),
        }

    def _phase(self, phase: str, **fields: object) -> None:
        with self.service.store.transaction():
            stored = resources.require(self.service, _KIND, self.arn)
            if stored["TrainingJobStatus"] == "InProgress":
                fields |= next_phase(stored, phase, time.time())
            self.update(**fields)

    def _watch(self) -> None:
        """Wait for `local-aws interrupt`, which leaves a file."""
        asked = self.folder / INTERRUPT

        def look() -> None:
            if asked.exists() and self._containers_run():
                asked.unlink()
                self.interrupt()

        repeat(f"watching {self.name} for an interruption", _WATCH_SECONDS, self.done, look)

    def _containers_run(self) -> bool:
        return any(host.process is not None and host.exit_code is None for host in self.hosts)

    def _resource_config(self, host: Host) -> dict[str, Any]:
        instance_type = self.body["ResourceConfig"].get("InstanceType", "ml.m5.large")
        names = [other.name for other in self.hosts]
        return {
            "current_host": host.name,
            "current_instance_type": instance_type,
            "current_group_name": _INSTANCE_GROUP,
            "hosts": names,
            "instance_groups": [
                {
                    "instance_group_name": _INSTANCE_GROUP,
                    "instance_type": instance_type,
                    "hosts": names,
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


def _any_file(folders: list[Path]) -> bool:
    return any(any(folder.iterdir()) for folder in folders if folder.is_dir())


def may_start_over(body: dict[str, Any]) -> bool:
    """Whether a job goes on after the end of its instances: spot training, or with retries left."""
    attempts = body.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
    return bool(body.get("EnableManagedSpotTraining")) or body.get("_Retries", 0) < attempts


def _lost(body: dict[str, Any]) -> float:
    """Return the seconds between interruptions and the beginning of the next attempts."""
    history = body.get("SecondaryStatusTransitions", [])
    lost = 0.0
    for entry in history[1:]:  # the first one is before the training's start
        if entry["Status"] in ("Interrupted", "Starting"):
            lost += entry.get("EndTime", entry["StartTime"]) - entry["StartTime"]
    return lost


def next_phase(body: dict[str, Any], phase: str, now: float) -> dict[str, Any]:
    """Return SecondaryStatus and its history with a new phase begun."""
    history = [dict(entry) for entry in body.get("SecondaryStatusTransitions", [])]
    if history:
        history[-1].setdefault("EndTime", now)
    entry = {"Status": phase, "StartTime": now, "StatusMessage": _PHASES[phase]}
    if phase in _LAST_PHASES:
        entry["EndTime"] = now
    return {"SecondaryStatus": phase, "SecondaryStatusTransitions": [*history, entry]}


@operation(
    "CreateTrainingJob",
    differs="Channels are in S3, in `File` or `FastFile` mode; instance groups and `AlgorithmName` "
    "are refused; `BillableTimeInSeconds` knows no discount",
)
def _create(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Runs an image on each host to train a model, with metrics, checkpoints and spot instances."""
    training_checks.check(service, request)
    return start(service, request)


def start(service: Service, request: dict[str, Any], **fields: object) -> dict[str, Any]:
    """Create and start a training job whose request was checked; return its stored body."""
    body = resources.create(
        service,
        _KIND,
        request,
        **{"TrainingJobStatus": "InProgress", **next_phase({}, "Starting", time.time()), **fields},
    )
    TrainingRun(service, body).start()
    return body


@operation("StopTrainingJob")
def _stop(service: Service, request: dict[str, Any]) -> None:
    """Stops a training job: SIGTERM, and SIGKILL after two minutes; what it saved is kept."""
    stop(service, request["TrainingJobName"])


def stop(service: Service, name: str) -> None:
    """Stop a training job.

    Raises:
        ApiError: It does not exist, or does not run (ValidationException).
    """
    with service.store.transaction():
        body = resources.require(service, _KIND, name)
        jobs.stop_job(service, _KIND, name, **next_phase(body, "Stopping", time.time()))


@operation("DeleteTrainingJob")
def _delete(service: Service, request: dict[str, Any]) -> None:
    """Deletes a training job that has ended, and its files."""
    jobs.delete_job(service, _KIND, request["TrainingJobName"])


def resume(service: Service) -> None:
    """Fail what ran when a former process was killed, or start it over where a job may."""
    jobs.fail_left_over(
        service,
        _KIND,
        lambda body: body["TrainingJobStatus"] == "InProgress" and may_start_over(body),
        TrainingEndTime=time.time(),
        SecondaryStatus="Failed",
    )
    for body in service.store.list(_KIND, TrainingJobStatus="InProgress"):
        _start_over(service, body)


def _start_over(service: Service, body: dict[str, Any]) -> None:
    """Run a job of a killed process anew: its instances were taken away, or it is tried again."""
    jobs.end_orphans(service, body["TrainingJobArn"])
    now = time.time()
    fields: dict[str, Any] = {}
    if body.get("EnableManagedSpotTraining"):
        fields = next_phase(body, "Interrupted", now)
    else:
        fields["_Retries"] = body.get("_Retries", 0) + 1
    fields |= next_phase(body | fields, "Starting", now)
    TrainingRun(service, service.store.update(_KIND, body["TrainingJobArn"], **fields)).start()
