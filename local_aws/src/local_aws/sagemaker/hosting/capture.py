"""Data capture of real-time endpoints, in AWS's layout and record format.

Source: "Capture data from real-time endpoint" of the SageMaker developer guide, and
CreateEndpointConfig.DataCaptureConfig.
"""

import base64
import json
import logging
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker.core.batching import Batcher, may_pass

_log = logging.getLogger(__name__)

_MAX_WAITING_BYTES = 256 * 1024**2


@dataclass(frozen=True)
class Payload:
    """One body, as it went over the wire, with its Content-Type header."""

    content_type: str
    data: bytes


@dataclass(frozen=True)
class Invocation:
    """What is captured of one answered request; times are UTC."""

    request: Payload
    response: Payload
    time: datetime
    inference_id: str | None = None
    custom_attributes: str | None = None


@dataclass(frozen=True)
class CaptureRule:
    """A DataCaptureConfig, read for use.

    Attributes:
        bucket: Of DestinationS3Uri.
        prefix: The key prefix of DestinationS3Uri, without a trailing slash.
        percentage: InitialSamplingPercentage, 0 to 100.
        modes: Input, Output or both.
        encodings: Content type, in lower case, to CSV or JSON; all others are BASE64.
        role: ARN of the role that writes, the model's.
    """

    bucket: str
    prefix: str
    percentage: int
    modes: frozenset[str]
    encodings: Mapping[str, str]
    role: str = ""

    @classmethod
    def read(cls, config: Mapping[str, Any] | None, role: str = "") -> "CaptureRule | None":
        """Return the rule of an endpoint config's DataCaptureConfig; None captures nothing.

        Args:
            config: The DataCaptureConfig, if there is one.
            role: ARN of the role that writes.
        """
        if not config or not config.get("EnableCapture"):
            return None
        destination = urlsplit(config["DestinationS3Uri"])
        header = config.get("CaptureContentTypeHeader") or {}
        encodings = {kind.lower(): "CSV" for kind in header.get("CsvContentTypes") or []}
        encodings |= {kind.lower(): "JSON" for kind in header.get("JsonContentTypes") or []}
        return cls(
            destination.netloc,
            destination.path.strip("/"),
            config["InitialSamplingPercentage"],
            frozenset(option["CaptureMode"] for option in config["CaptureOptions"]),
            encodings,
            role,
        )

    def samples(self) -> bool:
        """Decides whether to capture one invocation."""
        return random.random() * 100 < self.percentage  # noqa: S311 - a sample, not a secret

    def record(self, invocation: Invocation) -> dict[str, Any]:
        """Return the captured record, one line of the file."""
        captured = {}
        if "Input" in self.modes:
            captured["endpointInput"] = self._side("INPUT", invocation.request)
        if "Output" in self.modes:
            captured["endpointOutput"] = self._side("OUTPUT", invocation.response)
        metadata: dict[str, Any] = {"eventId": str(uuid.uuid4())}
        if invocation.custom_attributes is not None:
            metadata["customAttributes"] = [invocation.custom_attributes]
        if invocation.inference_id is not None:
            metadata["inferenceId"] = invocation.inference_id
        metadata["inferenceTime"] = invocation.time.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"}

    def _side(self, mode: str, payload: Payload) -> dict[str, str]:
        data, encoding = self.encode(payload)
        return {
            "observedContentType": payload.content_type,
            "mode": mode,
            "data": data,
            "encoding": encoding,
        }

    def encode(self, payload: Payload) -> tuple[str, str]:
        """Return data and encoding; a content type that is not listed becomes BASE64.

        So does a body that is not UTF-8 whatever its header says: a JSON line cannot hold it.
        """
        whole = payload.content_type.lower()
        bare = whole.partition(";")[0].strip()
        encoding = self.encodings.get(bare) or self.encodings.get(whole)
        if encoding is not None:
            try:
                return payload.data.decode(), encoding
            except UnicodeDecodeError:
                pass
        return base64.b64encode(payload.data).decode(), "BASE64"


@dataclass(frozen=True)
class _Line:
    role: str
    bucket: str
    folder: str
    time: datetime
    text: bytes
    due: float


class PutsObjects(Protocol):
    """What is used of a boto3 S3 client."""

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> object:  # noqa: N803 - boto3's
        """Write one object."""


class CaptureWriter:
    """Writes captured records to S3 as JSON Lines files, some time after the response."""

    def __init__(
        self, s3: Callable[[str], PutsObjects], interval: float = 1.0, delay: float = 0.0
    ) -> None:
        """Start the background thread.

        Args:
            s3: Returns the boto3 S3 client of a role, by its ARN.
            interval: The longest time in seconds that a record waits, beyond `delay`.
            delay: The least time in seconds that a record waits; the file and its folder have the
                time of the invocation nevertheless.
        """
        self._s3, self._delay = s3, delay
        self._closing = False
        self._lines = Batcher[_Line](
            "data-capture",
            self._write,
            interval=interval,
            size=lambda line: len(line.text),
            limit=_MAX_WAITING_BYTES,
        )

    def capture(
        self, rule: CaptureRule, endpoint: str, variant: str, invocation: Invocation
    ) -> None:
        """Take one invocation; the sampling percentage may pass over it."""
        if not rule.samples():
            return
        parts = [rule.prefix, endpoint, variant, invocation.time.strftime("%Y/%m/%d/%H")]
        text = json.dumps(rule.record(invocation)) + "\n"
        folder, due = "/".join(filter(None, parts)), time.monotonic() + self._delay
        encoded = text.encode()
        self._lines.put(_Line(rule.role, rule.bucket, folder, invocation.time, encoded, due))

    def close(self) -> None:
        """Write all that is left, what is not yet due too."""
        self._closing = True
        self._lines.close()

    def _write(self, lines: list[_Line]) -> list[_Line]:
        files = defaultdict(list)
        kept: list[_Line] = []
        now = time.monotonic()
        for line in lines:
            if line.due <= now or self._closing:
                files[line.role, line.bucket, line.folder].append(line)
            else:
                kept.append(line)
        for (role, bucket, folder), members in files.items():
            first = members[0].time
            name = f"{first:%M-%S}-{first.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
            body = b"".join(line.text for line in members)
            try:
                self._s3(role).put_object(Bucket=bucket, Key=f"{folder}/{name}", Body=body)
            except (BotoCoreError, ClientError) as error:
                if may_pass(error):
                    kept += members
                _log.warning(
                    "data capture to s3://%s/%s %s: %s",
                    bucket,
                    folder,
                    "will be tried again" if may_pass(error) else "was refused",
                    error,
                )
            except Exception:
                # A fault of this program, which another attempt would meet again.
                _log.exception("data capture to s3://%s/%s failed", bucket, folder)
        return kept
