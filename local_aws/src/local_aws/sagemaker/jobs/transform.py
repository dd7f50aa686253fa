"""Batch transform jobs.

The container contract is that of "Use Your Own Inference Code with Batch Transform"
(https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core import events, images, kinds, resources
from local_aws.sagemaker.core.logs import LogShipper
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.storage import S3Object, StorageError, split_uri
from local_aws.sagemaker.hosting.serving import Hosted, Server, ServingError, servable_model
from local_aws.sagemaker.jobs import jobs
from local_aws.sagemaker.jobs.jobs import StopRequested
from local_aws.sagemaker.jobs.transform_files import Limits, Transformer, log_line
from local_aws.sagemaker.jobs.transform_records import Records

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_KIND = "TransformJob"
_LOG_GROUP = "/aws/sagemaker/TransformJobs"
# AWS gives a container half an hour to answer GET /ping (aws/amazon-sagemaker-examples, 815).
_STARTUP_SECONDS = 1800
_STRATEGIES = {"SingleRecord": "SINGLE_RECORD", "MultiRecord": "MULTI_RECORD"}
_MAX_PAYLOAD_MB = 100
# Defaults of the API reference, CreateTransformJob and ModelClientConfig.
_DEFAULT_PAYLOAD_MB = 6
_DEFAULT_TIMEOUT_SECONDS = 600
_DEFAULT_RETRIES = 3

resources.declare(
    kinds.job(
        _KIND,
        "transform-job",
        events.described("SageMaker Transform Job State Change", events.iso),
        ascending=False,
    ),
    "Describe",
    "List",
)


class TransformRun(jobs.Run):
    """One run of a transform job."""

    kind = _KIND

    def __init__(self, service: Service, body: dict[str, Any]) -> None:
        model = servable_model(service, body["ModelName"])
        super().__init__(service, body, model.get("ExecutionRoleArn", ""))
        self._stream = f"{self.name}/i-{uuid.uuid4().hex[:17]}-{round(time.time())}"
        hosted = Hosted(
            model,
            f"transform job {self.name}",
            _LOG_GROUP,
            self._stream,
            startup_seconds=_STARTUP_SECONDS,
            environment=_environment(body),
            restart=False,
        )
        self._server = Server(service, hosted, self.folder)
        self._ended = 0.0

    def work(self) -> dict[str, Any]:
        """Start the model server and send it the input, file by file."""
        started = time.time()
        self.update(TransformStartTime=started)
        source = self.body["TransformInput"]["DataSource"]["S3DataSource"]
        objects = self.storage.objects(source["S3Uri"], source["S3DataType"])
        data_log = self.folder / "data-log.txt"
        shipper = LogShipper(
            self.service.acting_as(self.storage.role_arn),
            _LOG_GROUP,
            f"{self._stream}/data-log",
            data_log,
        )
        try:
            self._server.start()
            with data_log.open("a", buffering=1) as log:
                fields = self._transform(objects, started, lambda text: log.write(log_line(text)))
        except ServingError as error:
            fields = {"FailureReason": f"AlgorithmError: {error}"}
        finally:
            self._server.stop()
            shipper.close()
        if self.stopping:
            raise StopRequested
        return fields

    def end_processes(self, grace_seconds: float) -> None:
        """End the model server; what waits for its answers fails then."""
        self._server.stop(grace_seconds)

    def final_fields(self, status: str) -> dict[str, Any]:  # noqa: ARG002 - the same for all
        """Return the end time, which is that of the last upload."""
        return {"TransformEndTime": self._ended or time.time()}

    def _transform(
        self, objects: list[S3Object], started: float, log: Callable[[str], object]
    ) -> dict[str, Any]:
        def limits() -> Limits:
            found = _limits(self.body, self._server)
            strategy = "SINGLE_RECORD" if found.single else "MULTI_RECORD"
            log(
                f"MaxConcurrentTransforms={found.concurrency}, MaxPayloadInMB={found.payload_mb}, "
                f"BatchStrategy={strategy}"
            )
            return found

        capture = self.body.get("DataCaptureConfig", {})
        source, target = self.body["TransformInput"], self.body["TransformOutput"]
        headers = {"Accept": target.get("Accept", "*/*")}
        if "ContentType" in source:
            headers["Content-Type"] = source["ContentType"]
        folder = self.folder / "data"
        folder.mkdir()
        transformer = Transformer(
            self._server,
            Records.read(
                self.body, events.iso(started) if capture.get("GenerateInferenceId") else None
            ),
            limits,
            headers,
            self.storage,
            folder,
            target["S3OutputPath"].rstrip("/"),
            log,
            self._stop,
        )
        transformer.run(objects)
        self._ended = time.time()
        if self._server.exit_status is not None:
            reason = f"The container ended before the job did. {self._server.last_output()}"
            return {"FailureReason": f"AlgorithmError: {reason}"}
        if transformer.failures:
            first = transformer.failures[0]
            reason = f"{first.side}: See job logs for more information: {first.place}: "
            return {"FailureReason": reason + first.message}
        if capture and not self.stopping:
            self._capture(capture["DestinationS3Uri"].rstrip("/"), objects, started)
        return {}

    def _capture(self, destination: str, objects: list[S3Object], started: float) -> None:
        """Write the manifests of what went in and what came out.

        AWS: Amazon SageMaker Developer Guide, "Capture data from batch transform job".
        """
        first = objects[0]
        inputs = f"s3://{first.bucket}/{first.key.removesuffix(first.name)}"
        outputs = self.body["TransformOutput"]["S3OutputPath"].rstrip("/") + "/"
        names = [item.name for item in objects]
        hour = time.strftime("%Y/%m/%d/%H", time.gmtime(started))
        path = self.folder / "manifest.json"
        for side, manifest in (
            ("input", [{"prefix": inputs}, *names]),
            ("output", [{"prefix": outputs}, *(f"{name}.out" for name in names)]),
        ):
            path.write_text(json.dumps(manifest))
            self.storage.put(path, *split_uri(f"{destination}/{side}/{hour}/{self.name}.json"))


def _environment(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the container's environment: the last three only if the caller set them."""
    environment = {**job.get("Environment", {}), "SAGEMAKER_BATCH": "true"}
    if job.get("MaxPayloadInMB"):
        environment["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(job["MaxPayloadInMB"])
    if "BatchStrategy" in job:
        environment["SAGEMAKER_BATCH_STRATEGY"] = _STRATEGIES[job["BatchStrategy"]]
    if job.get("MaxConcurrentTransforms"):
        environment["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(job["MaxConcurrentTransforms"])
    return environment


def _limits(job: Mapping[str, Any], server: Server) -> Limits:
    """Return what the caller asked for, else what the container answers, else AWS's defaults.

    Raises:
        ServingError: The container's answer to GET /execution-parameters has no meaning.
    """
    told: dict[str, Any] = {}
    response = server.get("/execution-parameters")
    if response is not None and response.status == 200:
        told = _execution_parameters(response.data)
    strategy = _STRATEGIES.get(job.get("BatchStrategy", "")) or told.get("BatchStrategy")
    client = job.get("ModelClientConfig", {})
    return Limits(
        concurrency=job.get("MaxConcurrentTransforms") or told.get("MaxConcurrentTransforms") or 1,
        payload_mb=job.get("MaxPayloadInMB") or told.get("MaxPayloadInMB") or _DEFAULT_PAYLOAD_MB,
        single=strategy == "SINGLE_RECORD",
        timeout_seconds=client.get("InvocationsTimeoutInSeconds", _DEFAULT_TIMEOUT_SECONDS),
        retries=client.get("InvocationsMaxRetries", _DEFAULT_RETRIES),
    )


def _execution_parameters(answer: bytes) -> dict[str, Any]:
    """Read a container's answer to GET /execution-parameters.

    Raises:
        ServingError: It has no meaning.
    """
    try:
        told = json.loads(answer)
        meant = all(
            isinstance(told.get(name, 0), int) and 0 <= told.get(name, 0) <= _MAX_PAYLOAD_MB
            for name in ("MaxConcurrentTransforms", "MaxPayloadInMB")
        )
        meant &= told.get("BatchStrategy", "SINGLE_RECORD") in _STRATEGIES.values()
    except (ValueError, AttributeError):
        meant = False
    if not meant:
        raise ServingError(
            "The container answers GET /execution-parameters with what is not a JSON object of "
            f"MaxConcurrentTransforms, MaxPayloadInMB and BatchStrategy: {answer!r:.200}"
        )
    parameters: dict[str, Any] = told
    return parameters


@operation(
    "CreateTransformJob",
    differs="no RecordIO and TFRecord, and no chunked requests; instance types are stored only",
)
def _create(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    # InstanceCount may be any: instances share the files out, and the outputs are the same.
    """Sends files of S3 to a model server, whole or in records, and stores its answers."""
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise ApiError(
            "ValidationException",
            f"TransformInput: the local AWS has no S3DataType {source['S3DataType']}; "
            "use S3Prefix or ManifestFile",
        )
    for uri in (source["S3Uri"], request["TransformOutput"]["S3OutputPath"]):
        try:
            split_uri(uri)
        except StorageError as error:
            raise ApiError("ValidationException", str(error)) from None
    _check_payload(request)
    Records.read(request)
    with service.store.transaction():
        model = servable_model(service, request["ModelName"])
        images.resolve(service, model["PrimaryContainer"]["Image"])
        body = resources.create(service, _KIND, request, TransformJobStatus="InProgress")
    TransformRun(service, body).start()
    return body


def _check_payload(request: Mapping[str, Any]) -> None:
    size = request.get("MaxPayloadInMB")
    if size == 0:
        raise ApiError(
            "ValidationException",
            "MaxPayloadInMB: the local AWS does not send chunked requests; give 1 to 100",
        )
    together = (size or 1) * (request.get("MaxConcurrentTransforms") or 1)
    if together > _MAX_PAYLOAD_MB:
        raise ApiError(
            "ValidationException",
            f"MaxPayloadInMB * MaxConcurrentTransforms must not exceed {_MAX_PAYLOAD_MB}, "
            f"but is {together}",
        )


@operation("StopTransformJob")
def _stop(service: Service, request: dict[str, Any]) -> None:
    """Ends the model server, and the job with it."""
    jobs.stop_job(service, _KIND, request["TransformJobName"])


def resume(service: Service) -> None:
    """Fail what ran when a former process was killed."""
    # Its server is ended with those of the endpoints.
    jobs.fail_left_over(service, _KIND, TransformEndTime=time.time())
