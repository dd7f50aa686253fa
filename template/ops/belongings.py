"""What belongs to a version of the model, and its copies in another environment."""

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from lambdas.aws import split_uri
from ops import OpsError, images
from workflows.promotion import Place

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient

CHUNK = 1 << 20
AT_ONCE = 8
"""So many objects are copied at the same time."""
ANEW = "train a new version (`uv run ops train`)"


@dataclass(frozen=True)
class Target:
    """The environment that a version is brought to, by its own role.

    Attributes:
        place: Where it is.
        session: With the role.
    """

    place: Place
    session: boto3.Session

    @cached_property
    def s3(self) -> "S3Client":
        """The S3 client."""
        return self.session.client("s3")

    @cached_property
    def sagemaker(self) -> "SageMakerClient":
        """The SageMaker client."""
        return self.session.client("sagemaker")

    def ecr(self, region: str) -> Any:  # noqa: ANN401 - boto3's clients have no common type
        """The client of ECR in a region."""
        service: Any = "ecr"
        return self.session.client(service, region_name=region)


def bring_image(
    container: Mapping[str, Any], here: Place, target: Target, progress: Callable[[str], None]
) -> str:
    """Copy the image of a version; its digest, which is the same there.

    Raises:
        OpsError: When it is gone, elsewhere, or another one than was registered.
    """
    uri: str = container["Image"]
    pattern = rf"{re.escape(here.registry)}\.[^/]+/{re.escape(here.names.repository)}([:@])(.+)"
    parts = re.fullmatch(pattern, uri)
    if parts is None:
        raise OpsError(
            f"its image {uri} is not in repository {here.names.repository} of "
            f"{here.environment}: {ANEW}"
        )
    source = images.Repository(target.ecr(here.region), here.account, here.names.repository)
    there = target.place
    to = images.Repository(target.ecr(there.region), there.account, there.names.repository)
    image = images.find(source, {"imageTag" if parts[1] == ":" else "imageDigest": parts[2]})
    recorded = container.get("ImageDigest", "")
    if recorded.startswith("sha256:") and recorded != image.digest:
        raise OpsError(
            f"its image {uri} is {image.digest} now, and was {recorded} when the version was "
            f"registered: {ANEW}"
        )
    images.copy(image, source, to, progress)
    return image.digest


def domain(uri: str) -> str:
    """The end of a registry's name: `amazonaws.com`, or that of another partition."""
    return uri.partition("/")[0].split(".", maxsplit=4)[4]


def hashed(container: Mapping[str, Any], target: Target) -> tuple[str, str]:
    """The ETag and the SHA-256, in hexadecimal digits, of the artifact of a version.

    Args:
        container: Of its inference specification.
        target: Whose role reads it.

    Raises:
        OpsError: When it is gone, or another one than was registered.
    """
    uri = container["ModelDataUrl"]
    bucket, key = split_uri(uri)
    try:
        answer = target.s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        raise OpsError(f"the artifact {uri} is gone: {ANEW}") from None
    etag = answer["ETag"]
    if container.get("ModelDataETag", etag).strip('"') != etag.strip('"'):
        raise OpsError(f"{uri} is not the artifact any more that was registered: {ANEW}")
    found = hashlib.sha256()
    for part in answer["Body"].iter_chunks(CHUNK):
        found.update(part)
    return etag, found.hexdigest()


def of(s3: "S3Client", package: Mapping[str, Any]) -> dict[str, str]:
    """What belongs to a version but its artifact: the keys, with their ETags.

    That is whole folders: a baseline has files that the registry does not name.

    Raises:
        OpsError: When something is gone.
    """
    members = ("ModelMetrics", "DriftCheckBaselines", "CustomerMetadataProperties")
    named = {*uris([package.get(member) for member in members])}
    files = {uri for uri in named if "." in uri.rpartition("/")[2]}
    folders = {uri.rpartition("/")[0] for uri in files} | (named - files)
    found: dict[str, str] = {}
    for folder in folders:
        bucket, key = split_uri(folder)
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{key}/")
        there = {one["Key"]: one["ETag"] for page in pages for one in page.get("Contents", [])}
        if not there:
            raise OpsError(f"{folder} of version {package['ModelPackageVersion']} is gone")
        found |= there
    if gone := sorted(uri for uri in files if split_uri(uri)[1] not in found):
        raise OpsError(f"{', '.join(gone)} of version {package['ModelPackageVersion']} is gone")
    return found


def uris(value: object) -> Iterator[str]:
    """The URIs of S3 in a part of a request."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from uris(part)
    elif isinstance(value, list):
        for part in value:
            yield from uris(part)
    elif isinstance(value, str) and value.startswith("s3://"):
        yield value


def move(value: Any, old: str, new: str) -> Any:  # noqa: ANN401 - any part of a request
    """A part of a request, with what is below one URI of S3 below another.

    Raises:
        OpsError: When a URI is elsewhere.
    """
    if isinstance(value, Mapping):
        return {name: move(part, old, new) for name, part in value.items()}
    if isinstance(value, list):
        return [move(part, old, new) for part in value]
    if not isinstance(value, str) or not value.startswith("s3://"):
        return value
    if not value.startswith(old):
        raise OpsError(f"{value} is not below {old}, where all is that belongs to versions")
    return new + value.removeprefix(old)


def copy(
    objects: Mapping[str, str], here: Place, target: Target, moved: Callable[[str], str]
) -> None:
    """Copy objects, if each is still the one that was found.

    Args:
        objects: Their keys, with their ETags.
        here: Where they are.
        target: Where they are copied to.
        moved: Makes a URI of where an object will be of the one where it is.

    Raises:
        OpsError: When one is another meanwhile.
    """
    client = target.s3

    def one(key: str) -> None:
        to, name = split_uri(moved(f"s3://{here.bucket}/{key}"))
        client.copy_object(
            CopySource={"Bucket": here.bucket, "Key": key},
            CopySourceIfMatch=objects[key],
            Bucket=to,
            Key=name,
            TaggingDirective="REPLACE",  # by none: reading tags would take a permission more
        )

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            deque(pool.map(one, objects), maxlen=0)  # which raises what one of them has raised
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise
        raise OpsError("something of the version was written meanwhile: run this again") from None
