"""Processing jobs.

The container contract is that of "How Amazon SageMaker AI Processing Runs Your Processing Container
Image" (https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html).
Outputs with S3UploadMode Continuous are uploaded when the job ends, like the others.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core import events, images, kinds, resources
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError, input_shape, shape_structure
from local_aws.sagemaker.jobs import job_checks, jobs
from local_aws.sagemaker.jobs.container_job import ContainerRun, read_text

if TYPE_CHECKING:
    from local_aws.images.images import Image
    from local_aws.sagemaker.core.service import Service
    from local_aws.sagemaker.jobs.hosts import Host

_MAX_MESSAGE = 1024  # limit of the model's shape ExitMessage
_KIND = "ProcessingJob"

resources.declare(
    kinds.job(
        _KIND,
        "processing-job",
        events.described("SageMaker Processing Job State Change", events.milliseconds),
    ),
    "Describe",
    "List",
)


class ProcessingRun(ContainerRun):
    """One run of a processing job."""

    kind = _KIND
    log_group = "/aws/sagemaker/ProcessingJobs"

    def __init__(self, service: Service, body: dict[str, Any]) -> None:
        super().__init__(service, body, body["ProcessingResources"]["ClusterConfig"])

    def work(self) -> dict[str, Any]:
        """Tell of the start; then as all jobs of containers."""
        self.update(ProcessingStartTime=time.time())
        return super().work()

    def image_uri(self) -> str:
        """Return the URI of the image to run."""
        uri: str = self.body["AppSpecification"]["ImageUri"]
        return uri

    def prepare(self, host: Host) -> None:
        """Write the configuration files and bring the inputs in."""
        described = input_shape("CreateProcessingJob")
        config = {f"{_KIND}Arn": self.arn, **shape_structure(described, self.body)}
        self.write_json(host, "config/processingjobconfig.json", config)
        names = {"current_host": host.name, "hosts": [other.name for other in self.hosts]}
        self.write_json(host, "config/resourceconfig.json", names)
        (host.ml / "output").mkdir()
        for source in self.body.get("ProcessingInputs", []):
            s3 = source["S3Input"]
            folder = host.local_path(s3["LocalPath"])
            self.storage.download(s3["S3Uri"], folder, s3["S3DataType"], share=self.share(s3, host))
        for target in self._outputs():
            host.local_path(target["LocalPath"]).mkdir(parents=True, exist_ok=True)

    def command(self, image: Image) -> list[str]:
        """Return the container's program and arguments."""
        app = self.body["AppSpecification"]
        return jobs.command_line(
            image, app.get("ContainerEntrypoint", []), app.get("ContainerArguments", [])
        )

    def environment(self) -> dict[str, str]:
        """Return the job's own environment."""
        return {"PROCESSING_JOB_NAME": self.name, **self.body.get("Environment", {})}

    def finish(self, exit_code: int) -> dict[str, Any]:  # noqa: ARG002 - outputs of a failed job too
        """Read the exit message and upload the outputs, whatever became of the container."""
        messages = (read_text(host.ml / "output" / "message") for host in self.hosts)
        message = next(filter(None, messages), "")
        fields = {"ExitMessage": message[:_MAX_MESSAGE]} if message else {}
        self.update(**fields)
        for target in self._outputs():
            for host in self.hosts:
                self.storage.upload(host.local_path(target["LocalPath"]), target["S3Uri"])
        return fields

    def final_fields(self, status: str) -> dict[str, Any]:
        """Return the end time and, for a job out of time, the reason."""
        fields: dict[str, Any] = {"ProcessingEndTime": time.time()}
        if status == "Stopped" and self.exceeded:
            fields["FailureReason"] = "ClientError: The job ran longer than MaxRuntimeInSeconds."
        return fields

    def _outputs(self) -> list[dict[str, Any]]:
        config = self.body.get("ProcessingOutputConfig", {})
        return [output["S3Output"] for output in config.get("Outputs", [])]


@operation(
    "CreateProcessingJob",
    differs="Inputs and outputs are in S3, in `File` mode; outputs are uploaded when the job ends, "
    "with `S3UploadMode` `Continuous` too",
)
def _create(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Runs an image once on each host, with inputs from S3 and outputs to S3."""
    cluster = request["ProcessingResources"]["ClusterConfig"]
    job_checks.check_instances(service, "processingResources.clusterConfig", cluster)
    inputs = request.get("ProcessingInputs", [])
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    job_checks.check_unique("InputName", [source["InputName"] for source in inputs])
    job_checks.check_unique("OutputName", [target["OutputName"] for target in outputs])
    for source in inputs:
        _check_input(source)
    for target in outputs:
        if "S3Output" not in target:
            raise ApiError(
                "ValidationException",
                f"Output {target['OutputName']!r}: the local AWS writes outputs to S3 only; "
                "give S3Output",
            )
        path = job_checks.required("s3Output.localPath", target["S3Output"], "LocalPath")
        job_checks.check_local_path("LocalPath", path, "/opt/ml/processing")
    images.resolve(service, request["AppSpecification"]["ImageUri"])
    body = resources.create(service, _KIND, request, ProcessingJobStatus="InProgress")
    ProcessingRun(service, body).start()
    return body


def _check_input(source: dict[str, Any]) -> None:
    name = source["InputName"]
    if "S3Input" not in source:
        raise ApiError(
            "ValidationException",
            f"Input {name!r}: the local AWS reads inputs from S3 only; give S3Input",
        )
    s3 = source["S3Input"]
    if s3.setdefault("S3InputMode", "File") != "File":
        raise ApiError(
            "ValidationException",
            f"Input {name!r}: the local AWS has no S3InputMode {s3['S3InputMode']}; use File",
        )
    path = job_checks.required("s3Input.localPath", s3, "LocalPath")
    job_checks.check_local_path("LocalPath", path, "/opt/ml/processing")


@operation("StopProcessingJob")
def _stop(service: Service, request: dict[str, Any]) -> None:
    """Stops a processing job: SIGTERM, and SIGKILL after two minutes."""
    jobs.stop_job(service, _KIND, request["ProcessingJobName"])


@operation("DeleteProcessingJob")
def _delete(service: Service, request: dict[str, Any]) -> None:
    """Deletes a processing job that has ended, and its files."""
    jobs.delete_job(service, _KIND, request["ProcessingJobName"])


def resume(service: Service) -> None:
    """Fail what ran when a former process was killed."""
    jobs.fail_left_over(service, _KIND, ProcessingEndTime=time.time())
