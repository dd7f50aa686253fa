"""What an environment reads from its bucket: DAGs, which it follows, requirements and plugins."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service


class BucketError(Exception):
    """Something of an environment is not in its bucket, or not what it should be."""


def name_of(configuration: Mapping[str, Any]) -> str:
    """Return the name of the bucket that an environment's configuration names by ARN."""
    return str(configuration["SourceBucketArn"]).rpartition(":")[2]


class Dags:
    """The folder of an environment's DAGs, which follows a prefix of the bucket.

    Attributes:
        folder: The folder.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        """Take a folder, with what is in it from a former process.

        Args:
            service: The service, for its S3 clients.
            folder: The folder.
        """
        self.folder = folder
        self._service = service
        self._seen: dict[str, str] | None = None

    def follow(self, configuration: Mapping[str, Any]) -> None:
        """Make the folder what the bucket has, if that has changed.

        MWAA looks every so often without the role of the environment; what has changed is read
        with the role.

        Raises:
            ClientError: The bucket is not there, or the role may not read it.
        """
        bucket, path = name_of(configuration), str(configuration["DagS3Path"]).strip("/")
        if dict(_listed(self._service.client("s3"), bucket, path)) == self._seen:
            return
        s3 = self._service.client("s3", configuration["ExecutionRoleArn"])
        found = dict(_listed(s3, bucket, path))
        seen = self._seen or {}
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, tag in found.items():
            if seen.get(name) != tag:
                target = self.folder / name
                _make_way(self.folder, target)
                partial = self.folder.with_name("dags.partial")
                s3.download_file(bucket, f"{path}/{name}" if path else name, str(partial))
                partial.replace(target)
        for file in [each for each in self.folder.rglob("*") if not each.is_dir()]:
            name = file.relative_to(self.folder).as_posix()
            if name not in found and "__pycache__" not in file.parts:
                file.unlink()
        self._seen = found


def fetch(service: Service, configuration: Mapping[str, Any], folder: Path) -> None:
    """Read requirements and plugins into a folder of their own: `requirements.txt`, `plugins/`.

    Args:
        service: The service, for its S3 clients.
        configuration: The environment's; its role reads the bucket.
        folder: The folder; it is made anew.

    Raises:
        BucketError: What the configuration names is not there, or plugins.zip is not a ZIP file.
        ClientError: The role may not read it.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "plugins").mkdir(parents=True)
    requirements = _read(service, configuration, "Requirements")
    (folder / "requirements.txt").write_bytes(requirements)
    plugins = _read(service, configuration, "Plugins")
    if not plugins:
        return
    try:
        with zipfile.ZipFile(io.BytesIO(plugins)) as archive:
            archive.extractall(folder / "plugins")
    except zipfile.BadZipFile as error:
        raise BucketError(f"PluginsS3Path: {configuration['PluginsS3Path']}: {error}") from None


def _read(service: Service, configuration: Mapping[str, Any], what: str) -> bytes:
    """Read the object that a configuration names as `<what>S3Path`; nothing if it names none."""
    key = configuration.get(f"{what}S3Path", "")
    if not key:
        return b""
    s3 = service.client("s3", configuration["ExecutionRoleArn"])
    version = configuration.get(f"{what}S3ObjectVersion", "")
    request = {"Bucket": name_of(configuration), "Key": key}
    try:
        answer = s3.get_object(**request, **({"VersionId": version} if version else {}))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchVersion"):
            asked = f"{key}, version {version}," if version else key
            raise BucketError(
                f"{what}S3Path: {asked} is not in the bucket {request['Bucket']}"
            ) from None
        raise
    data: bytes = answer["Body"].read()
    return data


def _listed(s3: Any, bucket: str, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - a client
    """Yield the files under a path of a bucket, each with what changes with its content."""
    prefix = f"{path}/" if path else ""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            name = entry["Key"].removeprefix(prefix)
            inside = not {"..", "/"} & set(PurePosixPath(name).parts)
            if name and not name.endswith("/") and inside:
                yield name, entry["ETag"]


def _make_way(folder: Path, target: Path) -> None:
    """Make the folders above a file; files and folders that stand in its way go."""
    for above in reversed(target.relative_to(folder).parents):
        path = folder / above
        if path.is_file():
            path.unlink()
        path.mkdir(exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
