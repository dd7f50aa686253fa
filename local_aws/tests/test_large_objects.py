"""Objects of S3 that are larger than the memory that they may take."""

from __future__ import annotations

import hashlib
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import IMAGE, REGION, training_request
from host_process import HostProcess

from local_aws.images.images import Image, Images

MIB = 1024**2
GROWTH = 48 * MIB

READS = """
import hashlib, os
from pathlib import Path
base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
md5 = hashlib.md5()
with next((base / "input/data/large").iterdir()).open("rb") as file:
    while part := file.read(1 << 20):
        md5.update(part)
(base / "model" / "md5").write_text(md5.hexdigest())
print("md5=" + md5.hexdigest(), flush=True)
"""


class Memory:
    """Watches how much memory of its own a process has.

    Pages that only mirror files do not count: the kernel takes them back whenever it needs them.
    """

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._stop = threading.Event()
        self.peak = 0

    @property
    def now(self) -> int:
        """Bytes."""
        found = re.search(r"RssAnon:\s+(\d+) kB", self._status.read_text())
        assert found
        return int(found[1]) * 1024

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, self.now)

    @contextmanager
    def bounded(self, growth: int) -> Iterator[None]:
        before = self.peak = self.now
        self._stop.clear()
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
        assert self.peak - before < growth, f"{(self.peak - before) / MIB:.0f} MiB"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    host = HostProcess(tmp_path / "aws")
    python = str(Path(sys.executable).parent)
    Images(host.data_dir).register(IMAGE, Image(tmp_path, python, {}, [], []))
    with host:
        s3 = host.client("s3")
        s3.create_bucket(Bucket="large", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket="large", Key="warm/up", Body=b"x" * 2 * MIB)
        yield host


def md5_of(s3: Any, key: str) -> str:
    md5 = hashlib.md5()  # noqa: S324 - S3's own
    for part in s3.get_object(Bucket="large", Key=key)["Body"].iter_chunks(MIB):
        md5.update(part)
    return md5.hexdigest()


def large_objects_stay_on_disk(host: HostProcess, folder: Path, size: int) -> None:
    s3, memory, file = host.client("s3"), Memory(host.pid), folder / "large"
    md5 = hashlib.md5()  # noqa: S324 - S3's own
    with file.open("wb") as made:
        for number in range(size // MIB):
            part = number.to_bytes(4, "big") * (MIB // 4)
            md5.update(part)
            made.write(part)
    with memory.bounded(GROWTH):
        with file.open("rb") as body:
            put = s3.put_object(Bucket="large", Key="in/put", Body=body)
        assert put["ETag"] == f'"{md5.hexdigest()}"'
        s3.upload_file(str(file), "large", "parts")
        s3.copy_object(Bucket="large", Key="copied", CopySource="large/parts")
        s3.copy({"Bucket": "large", "Key": "in/put"}, "large", "copied-in-parts")
        for key in ("in/put", "parts", "copied", "copied-in-parts"):
            assert s3.head_object(Bucket="large", Key=key)["ContentLength"] == size
        assert md5_of(s3, "copied") == md5.hexdigest()
        s3.download_file("large", "copied-in-parts", str(file))
        with file.open("rb") as downloaded:
            assert hashlib.file_digest(downloaded, "md5").hexdigest() == md5.hexdigest()
        part = s3.get_object(Bucket="large", Key="parts", Range=f"bytes={5 * MIB - 2}-{5 * MIB}")
        assert part["Body"].read() == b"\0\4\0"
        trains(host, folder, md5.hexdigest())
    # A later write to one does not change what shares its file, nor does a restart any.
    s3.put_object(Bucket="large", Key="parts", Body=b"x" * 2 * MIB)
    host.terminate()
    host.start()
    assert md5_of(s3, "copied") == md5.hexdigest()
    assert list((host.data_dir / "tmp" / "s3").iterdir()) == []


def trains(host: HostProcess, folder: Path, md5: str) -> None:
    """A training job reads the object."""
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://large/in/"}
    channel = {"ChannelName": "large", "DataSource": {"S3DataSource": source}}
    request = training_request(folder, "reads", READS, "s3://large/models")
    sagemaker = host.client("sagemaker")
    sagemaker.create_training_job(**request, InputDataConfig=[channel])
    deadline = time.monotonic() + 300
    while True:
        job = sagemaker.describe_training_job(TrainingJobName="reads")
        if job["TrainingJobStatus"] != "InProgress":
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    log = (host.data_dir / "jobs" / "training-reads" / "log.txt").read_text()
    assert f"md5={md5}" in log


def test_what_shares_a_file_is_apart(host: HostProcess) -> None:
    s3 = host.client("s3")
    first, second = b"1" * 2 * MIB, b"2" * 3 * MIB

    def read(key: str, **more: str) -> bytes:
        body: bytes = s3.get_object(Bucket="large", Key=key, **more)["Body"].read()
        return body

    s3.put_object(Bucket="large", Key="k", Body=first)
    source = {"Bucket": "large", "Key": "k"}
    s3.copy_object(
        Bucket="large", Key="k", CopySource=source, Metadata={"a": "b"}, MetadataDirective="REPLACE"
    )
    s3.copy_object(Bucket="large", Key="copied", CopySource=source)
    enabled = {"Status": "Enabled"}
    s3.put_bucket_versioning(Bucket="large", VersioningConfiguration=enabled)
    version = s3.put_object(Bucket="large", Key="k", Body=second)["VersionId"]
    s3.put_object(Bucket="large", Key="k", Body=b"small")
    s3.delete_object(Bucket="large", Key="copied")
    for _ in range(2):
        assert read("k") == b"small"
        assert read("k", VersionId=version) == second
        assert read("k", VersionId="null") == first
        assert read("copied", VersionId="null") == first
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="large")["Contents"]]
        assert keys == ["k", "warm/up"]
        host.terminate()
        host.start()


def test_large_objects_stay_on_disk(host: HostProcess, tmp_path: Path) -> None:
    large_objects_stay_on_disk(host, tmp_path, 64 * MIB)


@pytest.mark.exhaustive
def test_objects_of_gigabytes_stay_on_disk(host: HostProcess, tmp_path: Path) -> None:
    large_objects_stay_on_disk(host, tmp_path, 2048 * MIB)
