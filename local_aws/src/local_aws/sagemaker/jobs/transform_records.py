"""The records of batch transform: cutting files into mini-batches, filters, joins, inference IDs.

Sources: CreateTransformJob and its data types in the API reference, and "Associate Prediction
Results with Input Records" of the SageMaker developer guide.
"""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.jobs import csv_rows
from local_aws.sagemaker.jobs.csv_rows import Table
from local_aws.sagemaker.jobs.json_path import JsonPath

_FORMATS = {"text/csv": "CSV", "application/json": "JSON", "application/jsonlines": "JSON"}
_ROOT = JsonPath.parse("$")


class RecordError(ValueError):
    """An input or a response cannot be cut, filtered or joined; the message says why."""


@dataclass(frozen=True)
class Records:
    """How a job's records are cut, filtered, joined and put together.

    Attributes:
        lines: Whether each line is a record; otherwise a whole file is.
        gzipped: Whether the files are compressed.
        assemble_lines: Whether a line end follows each transformed record.
        format: CSV, JSON, or neither; filters and joins need to know.
        join: Whether the input is put beside its prediction.
        input_filter: What the model gets of a record.
        output_filter: What the output gets of the prediction, or of both when they are joined.
        inference_time: When the job started, if each record gets an inference ID, else None.
    """

    lines: bool
    gzipped: bool
    assemble_lines: bool
    format: str | None
    join: bool
    input_filter: JsonPath
    output_filter: JsonPath
    inference_time: str | None = None

    @classmethod
    def read(cls, job: Mapping[str, Any], inference_time: str | None = None) -> Records:
        """Read a CreateTransformJob request.

        Args:
            job: The request.
            inference_time: When the job started, if each record is to get an inference ID.

        Raises:
            ApiError: Values do not go together, or are not there in a local AWS.
        """
        source, target = job["TransformInput"], job["TransformOutput"]
        processing = job.get("DataProcessing", {})
        split, assemble = source.get("SplitType", "None"), target.get("AssembleWith", "None")
        if split not in ("None", "Line"):
            raise _refused(
                f"TransformInput.SplitType: the local AWS has no {split}; use None or Line"
            )
        filters = {
            member: _path(f"DataProcessing.{member}", processing.get(member) or "$")
            for member in ("InputFilter", "OutputFilter")
        }
        records = cls(
            lines=split == "Line",
            gzipped=source.get("CompressionType", "None") == "Gzip",
            assemble_lines=assemble == "Line",
            format=_format(source.get("ContentType")),
            join=processing.get("JoinSource", "None") == "Input",
            input_filter=filters["InputFilter"],
            output_filter=filters["OutputFilter"],
            inference_time=inference_time,
        )
        if records.processes or job.get("DataCaptureConfig", {}).get("GenerateInferenceId"):
            _check_processing(records, target.get("Accept"))
        return records

    @property
    def processes(self) -> bool:
        """Whether anything is done to the records beside passing them on."""
        filtered = not (self.input_filter.is_root and self.output_filter.is_root)
        return self.join or filtered or self.inference_time is not None

    def batches(self, path: Path, limit: int, single: bool) -> Iterator[Table]:
        """Cut a file into the mini-batches that are sent to the model, before any filter.

        Args:
            path: The file.
            limit: Bytes that one may have.
            single: Whether each holds one record; otherwise as many as the limit allows.

        Raises:
            RecordError: A record is larger than that, or the file is not what it should be.
        """
        with cast(BinaryIO, gzip.open(path)) if self.gzipped else path.open("rb") as file:
            cut = (_each_line if single else _many_lines) if self.lines else _whole
            try:
                yield from map(Table, cut(file, limit))
            except (gzip.BadGzipFile, EOFError) as error:
                raise RecordError(f"The file could not be decompressed: {error}") from None

    def payload(self, batch: Table) -> bytes:
        """Return what the model gets of a mini-batch.

        Raises:
            ValueError: The filter does not fit its records.
        """
        if self.input_filter.is_root:
            return batch.text
        if self.format == "CSV":
            return b"\n".join(csv_rows.take(self.input_filter, batch))
        take = self.input_filter.of
        return b"\n".join(_dumped(take(record)) for record in self._json(batch, "input"))

    def result(self, batch: Table, response: bytes) -> bytes:
        """Return what the output file gets for a mini-batch and the model's response.

        Raises:
            ValueError: They do not belong together, or a filter does not fit them.
        """
        if self.processes:
            combine = self._csv if self.format == "CSV" else self._json_lines
            response = b"\n".join(combine(batch, response))
        if self.assemble_lines and not response.endswith(b"\n"):
            response += b"\n"
        return response

    def _csv(self, batch: Table, response: bytes) -> csv_rows.Rows:
        tables = [batch, Table(response)] if self.join else [Table(response)]
        made = csv_rows.take(self.output_filter, *tables)
        if self.inference_time is None:
            return made
        tail = f",{self.inference_time}".encode()
        return [row + b"," + str(uuid.uuid4()).encode() + tail for row in made]

    def _json_lines(self, batch: Table, response: bytes) -> csv_rows.Rows:
        outputs = self._json(Table(response), "output")
        if self.join:
            inputs = self._json(batch, "input")
            if len(inputs) != len(outputs):
                raise RecordError(
                    "Fail to join data: mismatched line count between the input and the output: "
                    f"{len(inputs)} and {len(outputs)}"
                )
            outputs = list(map(_joined, inputs, outputs))
        outputs = [self.output_filter.of(value) for value in outputs]
        if self.inference_time is not None:
            outputs = [self._identified(value) for value in outputs]
        return [_dumped(value) for value in outputs]

    def _identified(self, value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        fields = value if isinstance(value, dict) else {"SageMakerOutput": value}
        return {
            **fields,
            "SageMakerInferenceId": str(uuid.uuid4()),
            "SageMakerInferenceTime": self.inference_time,
        }

    def _json(self, text: Table, side: str) -> list[Any]:
        documents = text.rows if self.lines else [text.text]
        try:
            return [json.loads(document) for document in documents]
        except ValueError as error:
            raise RecordError(f"Failed to parse the {side} as JSON: {error}") from None


def _whole(file: BinaryIO, limit: int) -> Iterator[bytes]:
    content = file.read(limit + 1)
    if len(content) > limit:
        raise _too_large(limit)
    if content:
        yield content


def _each_line(file: BinaryIO, limit: int) -> Iterator[bytes]:
    for line in file:
        record = line.rstrip(b"\r\n")
        if len(record) > limit:
            raise _too_large(limit)
        yield record


def _many_lines(file: BinaryIO, limit: int) -> Iterator[bytes]:
    """Cut at the last line end that leaves no more than `limit` bytes, without a look at others."""
    rest = b""
    while True:
        block = rest + file.read(limit + 1 - len(rest))
        if len(block) <= limit:  # the file's end
            if block:
                yield block.removesuffix(b"\n").removesuffix(b"\r")
            return
        cut = block.rfind(b"\n")
        if cut < 0:
            raise _too_large(limit)
        yield block[:cut].removesuffix(b"\r")
        rest = block[cut + 1 :]


def _too_large(limit: int) -> RecordError:
    return RecordError(
        f"Too much data for max payload size: a record has more than {limit} bytes; raise "
        "MaxPayloadInMB, or set SplitType to Line"
    )


def _joined(record: Any, output: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    fields = record if isinstance(record, dict) else {"SageMakerInput": record}
    return {**fields, "SageMakerOutput": output}


def _dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _format(content_type: str | None) -> str | None:
    return _FORMATS.get((content_type or "").partition(";")[0].strip().lower())


def _path(member: str, text: str) -> JsonPath:
    try:
        return JsonPath.parse(text)
    except ValueError as error:
        raise _refused(f"{member}: {error}") from None


def _check_processing(records: Records, accept: str | None) -> None:
    if records.format is None or _format(accept) != records.format:
        raise _refused(
            "DataProcessing and inference IDs need TransformInput.ContentType and "
            "TransformOutput.Accept: text/csv for both, or application/json or "
            "application/jsonlines for both"
        )
    if records.format != "CSV":
        return
    if not (records.lines and records.assemble_lines):
        raise _refused(
            "DataProcessing of text/csv needs TransformInput.SplitType and "
            "TransformOutput.AssembleWith to be Line"
        )
    for member, path in (
        ("InputFilter", records.input_filter),
        ("OutputFilter", records.output_filter),
    ):
        if not path.fits_csv:
            raise _refused(
                f"DataProcessing.{member}: only index based JSONPaths can be applied to text/csv, "
                f"such as $[0] or $[1:], not {path.text}"
            )


def _refused(message: str) -> ApiError:
    return ApiError("ValidationException", message)
