"""One request of an asynchronous endpoint: from S3 to the model, to S3, and the notification.

Source: "Asynchronous inference" of the developer guide, with its pages "Check prediction results"
(the notification) and "Monitor asynchronous endpoint" (the metrics). AWS documents no example of a
failure's notification, nor how the response is included in one.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError

from local_aws.sagemaker.core.batching import may_pass
from local_aws.sagemaker.core.storage import StorageError, split_uri
from local_aws.sagemaker.hosting.fleet import Fleet
from local_aws.sagemaker.hosting.metrics import EndpointMetrics
from local_aws.sagemaker.hosting.runtime_requests import (
    CUSTOM_ATTRIBUTES,
    DEFAULT_CONTENT_TYPE,
    INFERENCE_ID,
)
from local_aws.sagemaker.hosting.variant import Unavailable, Variant

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

EXPIRED = "ClientError: The request was in the queue for longer than its RequestTTLSeconds."
"""Why a request failed that was never sent."""

_MAX_INPUT = 1024**3
_MAX_INCLUDED = 128 * 1024
_CHUNK = 1 << 20
_log = logging.getLogger(__name__)


class Requeue(Exception):  # noqa: N818 - an outcome, not an error
    """The instance went away while the request ran: another is to take it."""


class _Failed(Exception):  # noqa: N818 - an outcome that the caller is told
    """The request failed; the text is the failureReason."""


class Invocation:
    """One request."""

    def __init__(
        self,
        service: Service,
        metrics: EndpointMetrics,
        fleet: Fleet,
        variant: Variant,
        body: Mapping[str, Any],
    ) -> None:
        """Prepare a request.

        Args:
            service: The service.
            metrics: Where to send metrics.
            fleet: The fleet that answers.
            variant: Its variant that answers.
            body: The stored request.
        """
        self._service, self._metrics, self._variant, self._body = service, metrics, variant, body
        self._output: Mapping[str, Any] = fleet.config["AsyncInferenceConfig"]["OutputConfig"]
        self._folder, self._role = fleet.folder, fleet.role

    def run(self) -> None:
        """Carries the request out, stores its outcome and sends the notification.

        Raises:
            Requeue: It was not carried out, for its instance went away.
            NewConnectionError: The container has ended, and is being started anew.
            OSError: It could not be carried out for now: this machine's disk may be full.
            ClientError: S3 failed, and may not later.
        """
        self._count("TimeInBacklog", self._age() * 1000, "Milliseconds")
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="request-") as folder:
            source, target = Path(folder, "request"), Path(folder, "response")
            try:
                self._download(source)
                content_type = self._call(source, target)
                with target.open("rb") as answer:
                    self._upload(answer, self._body["OutputLocation"], content_type)
            except _Failed as error:
                self.fail(str(error), target)
                return
            self._notify(
                "SuccessTopic",
                "SUCCESS_NOTIFICATION_TOPIC",
                target,
                invocationStatus="Completed",
                responseParameters={
                    "contentType": content_type,
                    "outputLocation": self._body["OutputLocation"],
                },
            )
        self._count("InvocationsProcessed", 1, "Count")
        self._count("TotalProcessingTime", self._age() * 1000, "Milliseconds")

    def fail(self, reason: str, response: Path | None = None) -> None:
        """Store a failure and send its notification.

        Args:
            reason: The failureReason.
            response: The model's answer, if there is one.
        """
        if reason == EXPIRED:
            self._count("ExpiredRequests", 1, "Count")
        self._count("InvocationFailures", 1, "Count")
        parameters = {}
        if location := self._body.get("FailureLocation"):
            parameters = {"responseParameters": {"outputLocation": location}}
            answered = response is not None and response.exists()
            text = io.BytesIO(reason.encode())
            try:
                with response.open("rb") if response and answered else text as content:
                    self._upload(content, location, DEFAULT_CONTENT_TYPE)
            except _Failed as error:  # by what the request asks for: it will not succeed later
                _log.warning("endpoint %s: %s", self._body["EndpointName"], error)
        self._notify(
            "ErrorTopic",
            "ERROR_NOTIFICATION_TOPIC",
            response,
            invocationStatus="Failed",
            failureReason=reason,
            **parameters,
        )

    # Steps

    def _download(self, target: Path) -> None:
        if "Body" in self._body:
            target.write_bytes(base64.b64decode(self._body["Body"]))
            return
        uri = self._body["InputLocation"]
        start = time.perf_counter()
        try:
            bucket, key = split_uri(uri)
            found = self._service.client("s3", self._role).get_object(Bucket=bucket, Key=key)
            if found["ContentLength"] > _MAX_INPUT:
                raise _Failed(f"ClientError: {uri} is larger than {_MAX_INPUT} bytes.")
            with target.open("wb") as file:
                shutil.copyfileobj(found["Body"], file, _CHUNK)
        except (StorageError, ClientError, BotoCoreError) as error:
            self._count("RequestDownloadFailures", 1, "Count")
            if may_pass(error):
                raise
            raise _Failed(f"ClientError: Could not download {uri}: {error}") from error
        self._count("RequestDownloadLatency", _since(start), "Microseconds")

    def _call(self, source: Path, target: Path) -> str:
        """Call the container; return the Content-Type of the answer."""
        body = self._body
        headers = {"content-type": body["ContentType"], "accept": body.get("Accept", "*/*")}
        headers[INFERENCE_ID] = body["InferenceId"]
        if "CustomAttributes" in body:
            headers[CUSTOM_ATTRIBUTES] = body["CustomAttributes"]
        try:
            with self._variant.instance() as server:
                start = time.perf_counter()
                try:
                    response = server.exchange(
                        source, target, headers, body["InvocationTimeoutSeconds"]
                    )
                except HTTPError as error:
                    if server.stopping:
                        raise Requeue from error
                    raise
        except Unavailable as error:
            raise Requeue from error
        except NewConnectionError:
            raise  # nothing was sent: the request is not to fail for one that was under way
        except ReadTimeoutError as error:
            self._count("Invocation5XXErrors", 1, "None")
            limit = f"InvocationTimeoutSeconds, {body['InvocationTimeoutSeconds']}"
            raise _Failed(f"ClientError: The model did not answer within {limit}.") from error
        except HTTPError as error:
            self._count("Invocation5XXErrors", 1, "None")
            raise _Failed(f"ClientError: The model did not answer: {error}") from error
        self._count("ModelLatency", _since(start), "Microseconds")
        status = response.status
        self._count("Invocation4XXErrors", float(400 <= status < 500), "None")
        self._count("Invocation5XXErrors", float(status >= 500), "None")
        if not 200 <= status < 300:
            side = "client" if 400 <= status < 500 else "server"
            raise _Failed(
                f"ClientError: Received {side} error ({status}) from model. See the SageMaker "
                "Endpoint logs in your account for more information."
            )
        return response.headers.get("content-type", DEFAULT_CONTENT_TYPE)

    def _upload(self, content: BinaryIO, uri: str, content_type: str) -> None:
        start = time.perf_counter()
        try:
            bucket, key = split_uri(uri)
            self._service.client("s3", self._role).put_object(
                Bucket=bucket, Key=key, Body=content, ContentType=content_type
            )
        except (StorageError, ClientError, BotoCoreError) as error:
            self._count("ResponseUploadFailures", 1, "Count")
            if may_pass(error):
                raise
            raise _Failed(f"ClientError: Could not upload {uri}: {error}") from error
        self._count("ResponseUploadLatency", _since(start), "Microseconds")

    def _notify(
        self, member: str, including: str, response: Path | None, **outcome: object
    ) -> None:
        config = self._output.get("NotificationConfig", {})
        topic = config.get(member)
        if not topic:
            return
        parameters = {
            "contentType": self._body["ContentType"],
            "endpointName": self._body["EndpointName"],
            "inputLocation": self._body.get("InputLocation"),
        }
        message = {
            "awsRegion": self._service.settings.region,
            "eventTime": _iso(time.time()),
            "receivedTime": _iso(self._body["ReceivedTime"]),
            **outcome,
            "requestParameters": {k: v for k, v in parameters.items() if v is not None},
            "inferenceId": self._body["InferenceId"],
            "eventVersion": "1.0",
            "eventSource": "aws:sagemaker",
            "eventName": "InferenceResult",
        }
        if including in config.get("IncludeInferenceResponseIn", []):
            message |= _included(response)
        try:
            self._service.client("sns", self._role).publish(
                TopicArn=topic, Message=json.dumps(message)
            )
        except (ClientError, BotoCoreError) as error:
            self._count("NotificationFailures", 1, "Count")
            _log.warning("endpoint %s: %s: %s", self._body["EndpointName"], topic, error)

    def _age(self) -> float:
        age: float = time.time() - self._body["ReceivedTime"]
        return age

    def _count(self, name: str, value: float, unit: str) -> None:
        self._metrics.put(
            name,
            value,
            unit,
            EndpointName=self._body["EndpointName"],
            VariantName=self._variant.name,
        )


def _included(response: Path | None) -> dict[str, Any]:
    """Return the response for a notification, as text where it is text."""
    if response is None or not response.exists() or response.stat().st_size > _MAX_INCLUDED:
        return {}
    data = response.read_bytes()
    try:
        content, encoding = data.decode(), "UTF-8"
    except UnicodeDecodeError:
        content, encoding = base64.b64encode(data).decode(), "BASE64"
    return {"responseBody": {"content": content, "encoding": encoding}}


def _since(start: float) -> int:
    return round((time.perf_counter() - start) * 1_000_000)


def _iso(moment: float) -> str:
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
