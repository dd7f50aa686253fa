"""Between S3 and the folders of a job."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_CHUNK = 1 << 20
# Without threads, and in parts only what is huge: everything runs in one process on this machine,
# where both only cost.
_TRANSFER = TransferConfig(use_threads=False, multipart_threshold=1 << 30)


class StorageError(Exception):
    """Data could not be moved; the message is fit for a FailureReason."""


class S3Object(NamedTuple):
    """An object of an input; `name` is its key relative to the input's prefix."""

    bucket: str
    key: str
    name: str


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`.

    Raises:
        StorageError: It is not an S3 URI with a bucket.
    """
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise StorageError(f'ClientError: "{uri}" is not an S3 URI (s3://bucket/key)')
    # Not parts.path: "?" and "#" are ordinary characters of a key.
    return parts.netloc, uri[len("s3://") + len(parts.netloc) + 1 :]


class Storage:
    """Moves a job's data.

    Attributes:
        service: The service; its region and S3 client are used.
        role_arn: The job's role, with which S3 is called.
    """

    def __init__(self, service: Service, role_arn: str) -> None:
        self.service = service
        self.role_arn = role_arn

    def download(
        self,
        uri: str,
        folder: Path,
        data_type: str = "S3Prefix",
        may_be_empty: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> int:
        """Bring an input into a folder.

        Args:
            uri: Key name prefix, or with `ManifestFile` the key of a manifest, which is a JSON
                list of `{"prefix": "s3://bucket/path/"}` and keys relative to it
                (API reference, S3DataSource).
            folder: Where to; made if it is not there.
            data_type: `S3Prefix` or `ManifestFile`.
            may_be_empty: Whether it is no error that nothing is there.
            share: Index and number of those who share the objects out among themselves, one each
                in turn.

        Returns:
            Number of objects.

        Raises:
            StorageError: Nothing is there, or S3 refused.
        """
        folder.mkdir(parents=True, exist_ok=True)
        index, count = share
        found = self.objects(uri, data_type, may_be_empty)[index::count]
        for item in found:
            self.fetch(item, _inside(folder, item.name))
        return len(found)

    def objects(
        self, uri: str, data_type: str = "S3Prefix", may_be_empty: bool = False
    ) -> list[S3Object]:
        """List the objects of an input.

        Args:
            uri: As in `download`.
            data_type: `S3Prefix` or `ManifestFile`.
            may_be_empty: Whether it is no error that nothing is there.

        Raises:
            StorageError: Nothing is there, or S3 refused.
        """
        bucket, key = split_uri(uri)
        try:
            if data_type == "ManifestFile":
                found = list(self._manifest(uri, bucket, key))
            else:
                found = list(self._below(bucket, key))
        except (ClientError, BotoCoreError) as error:
            raise StorageError(self._nothing(uri, bucket, str(error))) from error
        if not found and not may_be_empty:
            raise StorageError(self._nothing(uri, bucket, ""))
        return found

    def fetch(self, item: S3Object, path: Path) -> None:
        """Bring one object into a file.

        Raises:
            StorageError: S3 refused, or the file could not be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            body = self.service.client("s3", self.role_arn).get_object(
                Bucket=item.bucket, Key=item.key
            )["Body"]
            with path.open("wb") as file:
                shutil.copyfileobj(body, file, _CHUNK)
        except (ClientError, BotoCoreError, OSError) as error:
            raise StorageError(
                f"ClientError: Data download of s3://{item.bucket}/{item.key} failed: {error}"
            ) from error

    def upload(self, folder: Path, uri: str) -> int:
        """Send all files below a folder under a key name prefix; return how many.

        Raises:
            StorageError: S3 refused.
        """
        bucket, prefix = split_uri(uri)
        prefix = prefix.rstrip("/")
        count = 0
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                self.put(path, bucket, f"{prefix}/{name}" if prefix else name)
                count += 1
        return count

    def upload_archive(self, folders: Sequence[Path], uri: str, scratch: Path) -> None:
        """Send what is in folders as one `.tar.gz`, their entries at the root of the archive.

        Args:
            folders: What to pack.
            uri: Key to write.
            scratch: File to pack into; removed afterwards.

        Raises:
            StorageError: S3 refused.
        """
        # Level 1: the disk and the network here are the same machine's, only packing takes time.
        with tarfile.open(scratch, "w:gz", compresslevel=1) as archive:
            for folder in folders:
                for path in sorted(folder.iterdir()):
                    archive.add(path, arcname=path.name)
        self.put(scratch, *split_uri(uri))
        scratch.unlink()

    def put(self, path: Path, bucket: str, key: str) -> None:
        """Send one file, in parts if it is large.

        Raises:
            StorageError: S3 refused.
        """
        try:
            self.service.client("s3", self.role_arn).upload_file(
                str(path), bucket, key, Config=_TRANSFER
            )
        except (Boto3Error, ClientError, BotoCoreError, OSError) as error:
            raise StorageError(
                f"ClientError: Failed to upload to s3://{bucket}/{key}: {error}"
            ) from error

    def _below(self, bucket: str, prefix: str) -> Iterator[S3Object]:
        """Yield the objects under a prefix.

        The folder structure below the prefix is kept. A prefix that ends within a name, or names
        one object, matches as S3 does, and the names are then kept from the last "/" on.
        """
        parent = prefix.rpartition("/")[0]
        paginator = self.service.client("s3", self.role_arn).get_paginator("list_objects_v2")
        for found in paginator.paginate(Bucket=bucket, Prefix=prefix):
            for item in found.get("Contents", []):
                key = item["Key"]
                if key.endswith("/"):
                    continue  # the console's folder markers
                inside = key.startswith(prefix.rstrip("/") + "/") and prefix
                name = key[len(prefix.rstrip("/")) :] if inside else key[len(parent) :]
                yield S3Object(bucket, key, name.lstrip("/"))

    def _manifest(self, uri: str, bucket: str, key: str) -> Iterator[S3Object]:
        text = (
            self.service.client("s3", self.role_arn)
            .get_object(Bucket=bucket, Key=key)["Body"]
            .read()
        )
        try:
            manifest = json.loads(text)
            prefix = manifest[0]["prefix"]
            names = [name for name in manifest[1:] if name.strip("/")]
            prefix_bucket, prefix_key = split_uri(prefix)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise StorageError(
                f"ClientError: The manifest {uri} must be a JSON list: "
                f'{{"prefix": "s3://bucket/path/"}}, then keys relative to it ({error!r})'
            ) from None
        for name in names:
            yield S3Object(prefix_bucket, prefix_key + name, name.lstrip("/"))

    def _nothing(self, uri: str, bucket: str, error: str) -> str:
        return (
            f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source. '
            f"Please ensure that the bucket exists in the selected region "
            f"({self.service.settings.region}), that objects exist under that S3 prefix, and that "
            f'the role "{self.role_arn}" has "s3:ListBucket" permissions on bucket "{bucket}".'
            + (f" Error message from S3: {error}" if error else "")
        )


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder; keys such as `../x` must not lead out of it."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise StorageError(f'ClientError: The S3 key ending in "{name}" leads out of the input')
    return path
