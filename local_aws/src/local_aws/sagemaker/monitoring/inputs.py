"""Where the data of a monitor's window lies, and the inputs that bring it to the monitor's jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core import images
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.storage import split_uri
from local_aws.sagemaker.monitoring import timing

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service
    from local_aws.sagemaker.monitoring.definitions import Monitor

NO_DATA = "Job inputs had no data"
"""AWS's FailureReason of an execution that finds nothing in its window."""

Request = dict[str, Any]


class Window:
    """The data of a monitor in a window of time.

    Attributes:
        start: Begin of the window.
        end: End of the window, not in it.
    """

    def __init__(self, service: Service, monitor: Monitor, start: datetime, end: datetime) -> None:
        self._service = service
        self.monitor = monitor
        self.start, self.end = start, end

    def labels(self, root: str, local: str) -> list[Request]:
        """Return the inputs with the labels that came in within the window.

        Raises:
            ApiError: There are none.
        """
        found = _inputs(self._hours(root), "groundtruth_input", local)
        if not found:
            raise ApiError("ValidationException", NO_DATA)
        return found

    @cached_property
    def place(self) -> str:
        """Where the monitored data lies: below it, a folder per variant, or per side of a job.

        Raises:
            ApiError: The endpoint is not there, or captures nothing.
        """
        if not self.monitor.endpoint:
            uri: str = self.monitor.data["DataCapturedDestinationS3Uri"]
            return uri.rstrip("/")
        name = self.monitor.endpoint
        endpoint = self._service.call("DescribeEndpoint", {"EndpointName": name})
        config = endpoint.get("DataCaptureConfig")
        if not config:
            raise ApiError("ValidationException", f"Endpoint {name} has no DataCaptureConfig")
        return str(config["DestinationS3Uri"]).rstrip("/")

    def sides(self) -> list[str]:
        """Return what the endpoint captures of a request."""
        endpoint = self._service.call("DescribeEndpoint", {"EndpointName": self.monitor.endpoint})
        names = {"EndpointConfigName": endpoint["EndpointConfigName"]}
        try:
            config = self._service.call("DescribeEndpointConfig", names)
        except ApiError:  # it may be deleted while its endpoint serves
            return ["endpointInput", "endpointOutput"]
        options = config.get("DataCaptureConfig", {}).get("CaptureOptions", [])
        modes = {option["CaptureMode"] for option in options}
        # One that the endpoint retained is of a former config, which need not be there.
        return [f"endpoint{mode}" for mode in ("Input", "Output") if mode in modes or not modes]

    def captured(self, root: str) -> list[Request]:
        """Return the inputs with the window's data, an input for each hour of a variant.

        Raises:
            ApiError: There are none.
        """
        local = self.monitor.data["LocalPath"].rstrip("/")
        if not self.monitor.endpoint:
            found = self._manifests(root, local)
        else:
            prefix = f"{root}/{self.monitor.endpoint}"
            variants = self._folders(prefix)
            hours = [hour for variant in variants for hour in self._hours(f"{prefix}/{variant}")]
            found = _inputs(
                [(uri, f"{self.monitor.endpoint}/{uri[len(prefix) + 1 :]}") for uri, _ in hours],
                "endpoint_input",
                local,
            )
        # The stand-in for AWS's images does not combine what several hosts have seen.
        if not images.stand_in(self.monitor.app["ImageUri"]):
            sharing = self.monitor.data.get("S3DataDistributionType", "FullyReplicated")
            for source in found:
                source["S3Input"]["S3DataDistributionType"] = sharing
        if not found:
            raise ApiError("ValidationException", NO_DATA)
        return found

    def _manifests(self, root: str, local: str) -> list[Request]:
        """Return what went into batch transform jobs that started in the window."""
        found: list[Request] = []
        for uri, below in self._hours(f"{root}/input"):
            for name in self._keys(uri):
                number = len(found) + 1
                folder = f"{local}/{below}/{number}"
                found.append(
                    s3_input(f"batch_input_{number}", f"{uri}/{name}", folder, "ManifestFile")
                )
        return found

    def _hours(self, root: str) -> list[tuple[str, str]]:
        """Return the prefixes of the window's hours that have objects, and their last parts."""
        hours = [f"{hour:%Y/%m/%d/%H}" for hour in timing.hours_between(self.start, self.end)]
        uris = [(f"{root}/{hour}", hour) for hour in hours]
        return [(uri, hour) for uri, hour in uris if any(True for _ in self._keys(uri, 1))]

    def _keys(self, uri: str, at_once: int = 1000) -> Iterator[str]:
        """Yield the names of objects below a prefix."""
        bucket, prefix = split_uri(f"{uri}/")
        for page in self._pages(
            Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": at_once}
        ):
            for item in page.get("Contents", []):
                yield item["Key"].removeprefix(prefix)

    def _folders(self, uri: str) -> list[str]:
        bucket, prefix = split_uri(f"{uri}/")
        return [
            found["Prefix"].removeprefix(prefix).rstrip("/")
            for page in self._pages(Bucket=bucket, Prefix=prefix, Delimiter="/")
            for found in page.get("CommonPrefixes", [])
        ]

    def _pages(self, **request: object) -> Iterator[dict[str, Any]]:
        pages: Iterable[dict[str, Any]] = (
            self._service.client("s3").get_paginator("list_objects_v2").paginate(**request)
        )
        return iter(pages)


def _inputs(hours: list[tuple[str, str]], title: str, local: str) -> list[Request]:
    return [
        s3_input(f"{title}_{number}", uri, f"{local}/{below}")
        for number, (uri, below) in enumerate(hours, start=1)
    ]


def s3_input(name: str, uri: str, folder: str, kind: str = "S3Prefix") -> Request:
    """Return an input of a processing job."""
    return {
        "InputName": name,
        "S3Input": {
            "LocalPath": folder,
            "S3Uri": uri,
            "S3DataType": kind,
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
            "S3CompressionType": "None",
        },
    }
