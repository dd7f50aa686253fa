"""Custom::CDKBucketDeployment: files of assets into a bucket.

The CDK's own function for it calls the AWS CLI of a Lambda layer at `/opt/awscli/aws`, where a
function of the local AWS sees no layer. This does what that function does, with its role; source:
`custom-resource-handlers/lib/aws-s3-deployment/bucket-deployment-handler` of
https://github.com/aws/aws-cdk, and `aws s3 sync` in the AWS CLI Command Reference.
"""

from __future__ import annotations

import fnmatch
import json
import mimetypes
import tempfile
import uuid
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local_aws.cloudformation.properties import Given, Handlers, Provisioned

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

NAME = "Custom::CDKBucketDeployment"

_OWNED = "aws-cdk:cr-owned"  # how the CDK tags buckets that a deployment fills
# Options of `aws s3 sync`, as SystemMetadata names them, and members of PutObject.
_SYSTEM_METADATA = {
    "acl": "ACL",
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "content-language": "ContentLanguage",
    "content-type": "ContentType",
    "expires": "Expires",
    "sse": "ServerSideEncryption",
    "sse-kms-key-id": "SSEKMSKeyId",
    "storage-class": "StorageClass",
    "website-redirect": "WebsiteRedirectLocation",
}
_MOST_KEYS = 1000  # of one DeleteObjects


def handlers(service: Service) -> Handlers:
    """Return what creates, updates and deletes deployments.

    See `cloudformation.sagemaker_types.handlers`.
    """
    made = _Deployments(service)
    return {"create": made.create, "update": made.update, "delete": made.delete}


class _Deployments:
    def __init__(self, service: Service) -> None:
        self._service = service

    def create(self, logical_id: str, properties: Given, stack: str) -> Provisioned:
        del logical_id, stack
        attributes = self._deploy(properties)
        return f"aws.cdk.s3deployment.{uuid.uuid4()}", attributes

    def update(self, physical_id: str, old: Given, new: Given, stack: str) -> Provisioned:
        del stack
        if not _flag(new, "RetainOnDelete", True) and _destination(old) != _destination(new):
            _remove(self._s3(new), *_destination(old), keep=())
        return physical_id, self._deploy(new)

    def delete(self, physical_id: str, properties: Given) -> None:
        del physical_id
        if not _flag(properties, "RetainOnDelete", True):
            s3, (bucket, prefix) = self._s3(properties), _destination(properties)
            if not _is_owned(s3, bucket, prefix):
                _remove(s3, bucket, prefix, keep=())

    def _s3(self, properties: Given) -> Any:  # noqa: ANN401 - a boto3 client
        """Return a client with the role of the function that the resource names."""
        function = self._service.client("lambda").get_function_configuration(
            FunctionName=properties["ServiceToken"]
        )
        return self._service.client("s3", function["Role"])

    def _deploy(self, properties: Given) -> dict[str, Any]:
        if properties.get("DistributionId"):
            raise ValueError("DistributionId: there is no CloudFront in this local AWS")
        s3, (bucket, prefix) = self._s3(properties), _destination(properties)
        metadata = _metadata(properties)
        with tempfile.TemporaryDirectory(dir=self._service.settings.data_dir / "tmp") as folder:
            contents = Path(folder, "contents")
            contents.mkdir()
            for number in range(len(properties["SourceBucketNames"])):
                self._fetch(s3, properties, number, contents)
            names = {
                path.relative_to(contents).as_posix(): path
                for path in sorted(contents.rglob("*"))
                if path.is_file()
            }
            for name, path in names.items():
                if _passes(properties, name):
                    kind = mimetypes.guess_type(name)[0]
                    guessed = {"ContentType": kind} if kind else {}
                    with path.open("rb") as body:
                        s3.put_object(
                            Bucket=bucket, Key=f"{prefix}{name}", Body=body, **guessed | metadata
                        )
        if _flag(properties, "Prune", True):
            there = set(_names(s3, bucket, prefix))
            filtered = {name for name in there if not _passes(properties, name)}
            _remove(s3, bucket, prefix, keep=names.keys() | filtered)
        return self._attributes(s3, properties)

    def _fetch(self, s3: Any, properties: Given, number: int, contents: Path) -> None:  # noqa: ANN401
        """Bring one source to the contents."""
        bucket = properties["SourceBucketNames"][number]
        key = str(properties["SourceObjectKeys"][number])
        if not _flag(properties, "Extract", True):
            s3.download_file(bucket, key, str(contents / key.rpartition("/")[2]))
            return
        archive = contents.with_name(f"{number}.zip")
        s3.download_file(bucket, key, str(archive))
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(contents)
            files = [contents / name for name in opened.namelist()]
        markers = _at(properties, "SourceMarkers", number)
        as_json = _flag(_at(properties, "SourceMarkersConfig", number), "jsonEscape", False)
        if markers:
            for path in filter(Path.is_file, files):
                path.write_bytes(_replaced(path.read_bytes(), markers, as_json))

    def _attributes(self, s3: Any, properties: Given) -> dict[str, Any]:  # noqa: ANN401
        keys = properties["SourceObjectKeys"]
        found: dict[str, Any] = {
            "DestinationBucketArn": properties.get("DestinationBucketArn"),
            "SourceObjectKeys": keys if _flag(properties, "OutputObjectKeys", True) else [],
        }
        if _flag(properties, "OutputObjectVersionIds", False):
            bucket, prefix = _destination(properties)
            found["SourceObjectVersionIds"] = [
                _version(s3, bucket, prefix + str(key).rpartition("/")[2]) for key in keys
            ]
        return found


def _destination(properties: Given) -> tuple[str, str]:
    """Return bucket and prefix; a prefix that is not empty ends with a slash, as of a folder."""
    prefix = str(properties.get("DestinationBucketKeyPrefix", "")).rstrip("/")
    return str(properties["DestinationBucketName"]), f"{prefix}/" if prefix else ""


def _flag(properties: Given, name: str, default: bool) -> bool:
    """Return a boolean property, which a template may have as text."""
    return str(properties.get(name, default)).lower() == "true"


def _at(properties: Given, name: str, number: int) -> Mapping[str, str]:
    """Return a source's item of a list that need not be there."""
    found: list[Mapping[str, str]] = properties.get(name) or []
    return found[number] if number < len(found) else {}


def _metadata(properties: Given) -> dict[str, Any]:
    given = {k.lower(): v for k, v in (properties.get("SystemMetadata") or {}).items()}
    if unknown := sorted(given.keys() - _SYSTEM_METADATA.keys()):
        raise ValueError(f"SystemMetadata: {', '.join(unknown)} is not there in this local AWS")
    found: dict[str, Any] = {_SYSTEM_METADATA[key]: value for key, value in given.items()}
    if user := properties.get("UserMetadata"):
        found["Metadata"] = {key.lower(): value for key, value in user.items()}
    return found


def _passes(properties: Given, name: str) -> bool:
    """Tell whether a file takes part: the last of excluding and including filters decides."""
    if any(fnmatch.fnmatch(name, pattern) for pattern in properties.get("Include") or []):
        return True
    return not any(fnmatch.fnmatch(name, pattern) for pattern in properties.get("Exclude") or [])


def _replaced(content: bytes, markers: Mapping[str, str], as_json: bool) -> bytes:
    """Put values, which are known only at deployment, in the place of their markers."""
    for marker, value in markers.items():
        text = json.dumps(value)[1:-1] if as_json else value
        content = content.replace(marker.encode(), text.encode())
    return content


def _names(s3: Any, bucket: str, prefix: str) -> Iterator[str]:  # noqa: ANN401 - a boto3 client
    """Yield the keys under a prefix, without it."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            yield entry["Key"].removeprefix(prefix)


def _remove(s3: Any, bucket: str, prefix: str, keep: Collection[str]) -> None:  # noqa: ANN401
    """Delete the objects under a prefix but for some; a bucket that is gone has none."""
    try:
        gone = [name for name in _names(s3, bucket, prefix) if name not in keep]
    except s3.exceptions.NoSuchBucket:
        return
    for at in range(0, len(gone), _MOST_KEYS):
        objects = [{"Key": f"{prefix}{name}"} for name in gone[at : at + _MOST_KEYS]]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
        for error in answer.get("Errors", []):
            raise ValueError(f"{error['Key']}: {error['Message']}")


def _is_owned(s3: Any, bucket: str, prefix: str) -> bool:  # noqa: ANN401 - a boto3 client
    """Tell whether another deployment still fills this place, as its tag on the bucket says."""
    tag = f"{_OWNED}:{prefix.rstrip('/')}" if prefix else _OWNED
    try:
        tags = s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError:
        return False
    return any(each["Key"].startswith(tag) for each in tags)


def _version(s3: Any, bucket: str, key: str) -> str:  # noqa: ANN401 - a boto3 client
    try:
        return str(s3.head_object(Bucket=bucket, Key=key).get("VersionId", ""))
    except ClientError:  # a filter has left it out
        return ""
