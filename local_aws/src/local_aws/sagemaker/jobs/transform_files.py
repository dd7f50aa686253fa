"""Batch transform's way from input files through a model server to output files.

One thread cuts files into mini-batches and puts results together, in order, while as many requests
as the job allows are under way: neither waits for the other as long as there is work.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

import urllib3

from local_aws.sagemaker.core.storage import S3Object, Storage, StorageError, split_uri
from local_aws.sagemaker.hosting.serving import Server
from local_aws.sagemaker.jobs.csv_rows import Table
from local_aws.sagemaker.jobs.transform_records import Records

_RETRY_SECONDS = 0.5
_MAX_MESSAGE = 500
_MB = 1 << 20


class InvocationError(Exception):
    """A mini-batch was not transformed.

    Attributes:
        side: ClientError when the request was at fault, AlgorithmError when the container was.
    """

    def __init__(self, side: str, message: str) -> None:
        super().__init__(message)
        self.side = side


@dataclass(frozen=True)
class Limits:
    """How requests are made.

    Attributes:
        concurrency: Requests under way at once.
        payload_mb: Size of a request, in MiB.
        single: Whether a request holds one record only.
        timeout_seconds: How long a request may take.
        retries: How often a failed request is sent again.
    """

    concurrency: int
    payload_mb: int
    single: bool
    timeout_seconds: float
    retries: int


class Failure(NamedTuple):
    """Why an object was not transformed.

    Attributes:
        place: The object, as bucket/key.
        side: ClientError when data or request are at fault, AlgorithmError when the container is.
        message: What happened.
    """

    place: str
    side: str
    message: str


@dataclass
class _File:
    """An input object on its way to its output object."""

    source: S3Object
    input: Path
    output: Path
    stream: IO[bytes] | None = None
    failed: bool = False


class _Batch:
    """A mini-batch under way; the last of a file has no response."""

    def __init__(self, file: _File, records: Table, response: Future[bytes] | None) -> None:
        self.file, self.records, self.response = file, records, response


@dataclass
class Transformer:
    """Transforms the files of one job.

    Attributes:
        server: The model server; it was started.
        records: How records are cut, filtered and joined.
        limits: Tells how requests are made, once the server answers.
        headers: Headers of each request.
        storage: Where inputs come from and outputs go to.
        folder: Folder for the files under way; it is there.
        output: S3 URI of the outputs' folder.
        log: Takes a line for the job's data log.
        stop: Set when the job is to stop.
        failures: Why objects were not transformed, as far as it has come.
    """

    server: Server
    records: Records
    limits: Callable[[], Limits]
    headers: Mapping[str, str]
    storage: Storage
    folder: Path
    output: str
    log: Callable[[str], object]
    stop: threading.Event
    failures: list[Failure] = field(default_factory=list)

    def run(self, objects: Sequence[S3Object]) -> None:
        """Transform objects, and store the output of each that succeeded as a whole.

        A failed one does not hold up the others; `failures` tells of it.

        Raises:
            ServingError: The server does not answer.
        """
        files = [
            _File(source, self.folder / f"{number}.in", self.folder / f"{number}.out")
            for number, source in enumerate(objects)
        ]
        with ThreadPoolExecutor(1, "fetch") as fetching:
            inputs = _ahead(fetching, self._fetch, files)
            self.server.wait_healthy()
            limits = self.limits()
            with ThreadPoolExecutor(limits.concurrency, "transform") as pool:
                self._run(inputs, limits, pool)

    def _run(
        self, inputs: Iterator[tuple[_File, Future[None]]], limits: Limits, pool: ThreadPoolExecutor
    ) -> None:
        under_way: deque[_Batch] = deque()
        for batch in self._batches(inputs, limits, pool):
            under_way.append(batch)
            # One request beyond those under way is ready whenever one of them ends.
            if len(under_way) > limits.concurrency + 1:
                self._take(under_way.popleft())
        while under_way:
            self._take(under_way.popleft())

    def _fetch(self, file: _File) -> None:
        self.storage.fetch(file.source, file.input)

    def _batches(
        self, inputs: Iterator[tuple[_File, Future[None]]], limits: Limits, pool: ThreadPoolExecutor
    ) -> Iterator[_Batch]:
        for file, fetched in inputs:
            if self.stop.is_set() or self.server.exit_status is not None:
                return
            try:
                fetched.result()
                size = limits.payload_mb * _MB
                for records in self.records.batches(file.input, size, limits.single):
                    payload = self.records.payload(records)
                    yield _Batch(file, records, pool.submit(self._invoke, payload, limits))
                    if file.failed:
                        break
            except (StorageError, OSError, ValueError) as error:
                self._fail(file, error)
            yield _Batch(file, Table(b""), None)

    def _take(self, batch: _Batch) -> None:
        file = batch.file
        try:
            if batch.response is None:
                self._close(file)
                return
            response = batch.response.result()
            if file.failed:
                return
            if file.stream is None:
                file.stream = file.output.open("wb")
            file.stream.write(self.records.result(batch.records, response))
        except (InvocationError, StorageError, OSError, ValueError) as error:
            self._fail(file, error)

    def _close(self, file: _File) -> None:
        """Store the output of a file, if all of its mini-batches were transformed."""
        if file.stream is None:
            file.output.touch()
        else:
            file.stream.close()
        if not file.failed and not self.stop.is_set():
            self.storage.put(file.output, *split_uri(f"{self.output}/{file.source.name}.out"))
        for path in (file.input, file.output):
            path.unlink(missing_ok=True)

    def _fail(self, file: _File, error: Exception) -> None:
        if file.failed or self.stop.is_set():
            return
        file.failed = True
        side = error.side if isinstance(error, InvocationError) else "ClientError"
        message = str(error).removeprefix(f"{side}: ")
        failure = Failure(f"{file.source.bucket}/{file.source.key}", side, message)
        self.failures.append(failure)
        for line in f"{side}: {message}".splitlines():
            self.log(f"{failure.place}: {line}")

    def _invoke(self, payload: bytes, limits: Limits) -> bytes:
        for attempt in range(limits.retries + 1):
            # A server that has ended does not come back.
            if attempt and (self.server.exit_status is not None or self._stopped_in(attempt)):
                break
            try:
                response = self.server.invoke(payload, self.headers, limits.timeout_seconds)
            except urllib3.exceptions.ReadTimeoutError:
                message = (
                    "Model server did not respond to /invocations request within "
                    f"{limits.timeout_seconds:g} seconds"
                )
                failure = InvocationError("AlgorithmError", message)
                continue
            except urllib3.exceptions.HTTPError as error:
                failure = InvocationError(
                    "AlgorithmError",
                    f"Unable to get response from algorithm ({error}). {self.server.last_output()}",
                )
                continue
            if 200 <= response.status < 300:
                return response.data
            said = response.data.decode(errors="replace").strip()[:_MAX_MESSAGE]
            side = "ClientError" if response.status < 500 else "AlgorithmError"
            failure = InvocationError(side, f"{response.status}\n\nMessage:\n{said}".rstrip())
            if side == "ClientError":
                break
        raise failure

    def _stopped_in(self, attempt: int) -> bool:
        return self.stop.wait(_RETRY_SECONDS * 2 ** (attempt - 1))


def _ahead(
    pool: ThreadPoolExecutor, bring: Callable[[_File], None], files: Sequence[_File]
) -> Iterator[tuple[_File, Future[None]]]:
    """Bring each file while the one before it is worked on; the first one at once."""
    fetched = [pool.submit(bring, files[0])]

    def pairs() -> Iterator[tuple[_File, Future[None]]]:
        for number, file in enumerate(files):
            fetched.extend(pool.submit(bring, following) for following in files[number + 1 :][:1])
            yield file, fetched[number]

    return pairs()


def log_line(text: str) -> str:
    """Write a line as those of a job's data log."""
    now = time.time()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return f"{moment}.{int(now % 1 * 1000):03d}:[sagemaker logs]: {text}\n"
