"""What the shared tests need to know of batch inference: how a version comes to predict."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import polars as pl
from support.fake_sagemaker import ACCOUNT, ARN, BUCKET, FakeSageMaker, Request
from support.templates import alarm_event

from lambdas import batch
from usecase import config
from workflows import names

NAMES = names.Names()

#: What the stacks tell the functions.
ENVIRONMENT = {
    "MODEL_ROLE": f"arn:aws:iam::{ACCOUNT}:role/model",
    "PROJECT": names.PROJECT,
}

#: What AWS does not let one limit to a resource.
EVERYWHERE = {"sagemaker:ListModels"}

#: Events, and the rules that they match.
EVENTS: list[tuple[dict[str, Any], set[str]]] = [
    (alarm_event(NAMES.rejected_alarm, "ALARM"), {"alarm"}),
    (alarm_event(NAMES.rejected_alarm, "OK"), set()),
]

COMMANDS = ("batch", "invoke", "rejected", "delete-models")

#: Where predictions are, and keys from before, within and after 2026-01-31T23:00 to 02-01T01:30.
PREFIX = "predictions/"
BEFORE = ["day=2026-01-30/predictions.parquet"]
WITHIN = ["day=2026-01-31/predictions.parquet", "day=2026-02-01/predictions.parquet"]
AFTER = ["day=2026-02-02/predictions.parquet"]
#: In the folder of the window's last time, but from after it.
JUST_AFTER = AFTER[0]


class SageMaker(FakeSageMaker):
    """With lists of models."""

    def __init__(self) -> None:
        super().__init__()
        self.operations["ListModels"] = self._list_models
        self.operations["DeleteModel"] = lambda request: self.models.pop(request["ModelName"])

    def _list_models(self, request: Request) -> Request:
        found = [name for name in self.models if request["NameContains"] in name]
        return {"Models": [{"ModelName": n, "ModelArn": f"{ARN}:model/{n}"} for n in found]}


def serve(_fake: SageMaker, package: str, time: datetime) -> None:
    """Let a version predict."""
    batch.deploy({"time": time.isoformat(), "detail": {"ModelPackageArn": package}}, None)


def keep(
    folder: Path,
    features: pl.DataFrame,
    answers: Sequence[str],
    ids: Sequence[str],
    time: str = "2026-01-15T12:00:00Z",
) -> None:
    """Write predictions as they are kept.

    Args:
        folder: Where to, as in the data bucket.
        features: A row per prediction.
        answers: The server's answer to each row, a line of CSV.
        ids: The ids of the records.
        time: The time of the records.
    """
    use_case = config.load()
    fields = pl.DataFrame(
        [answer.split(",")[: len(use_case.target.answer)] for answer in answers],
        schema=dict.fromkeys(use_case.target.answer, pl.String()),
        orient="row",
    )
    numbers = [*use_case.features.numeric]
    numbers += [name for name, kind in use_case.target.answer.items() if kind is float]
    at = datetime.fromisoformat(time).replace(tzinfo=None)
    table = pl.DataFrame(
        {"inference_id": ids, "row": 0, "time": [at] * len(ids)},
        schema={"inference_id": pl.String, "row": pl.Int64, "time": pl.Datetime("us")},
    )
    table = pl.concat([table, features, fields], how="horizontal").with_columns(
        pl.col(numbers).cast(pl.Float64, strict=False),
        model_version=pl.lit(1, pl.Int64),
        scored_at=pl.lit(at, pl.Datetime("us")),
    )
    path = folder / f"predictions/day={at:%Y-%m-%d}" / "predictions.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path)


def put(session: boto3.Session, version: int | None, *keys: str) -> list[str]:
    """Let a version have scored the days of keys below PREFIX; the keys."""
    s3 = session.client("s3")
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}{key}", Body=b"")
        day, record = key.partition("/")[0], json.dumps({"model_version": version})
        if version:
            s3.put_object(Bucket=BUCKET, Key=f"scored/{day}.json", Body=record.encode())
    return list(keys)
