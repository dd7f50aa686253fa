"""Training-serving skew: features that were asked about, and what the data mart gives now."""

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ops import OpsError, aws, models
from ops.times import Day
from usecase.predictions.parquet import DAY_FOLDER
from workflows import jobs, keys

console = Console()


def skew(
    version: Annotated[int | None, typer.Argument(help="Default: the one that serves.")] = None,
    start: Day = None,
    end: Day = None,
) -> None:
    """Compare the features of predictions with those that the data mart gives for their records."""
    with console.status("Comparing …") as status:
        found = measure(version, start, end, lambda text: status.update(f"Comparing: {text}"))
    unknown = found["unknown"]
    lacking = f", {unknown} of records that the data mart lacks" if unknown else ""
    console.print(f"Version {found['version']}: {found['compared']} predictions compared{lacking}.")
    console.print(summary(found["features"]) if found["features"] else "All features are the same.")


def measure(
    number: int | None,
    start: date | None,
    end: date | None,
    progress: Callable[[str], None] = lambda _: None,
) -> Mapping[str, Any]:
    """Run the job that compares, in the image of the version, and read its report.

    Args:
        number: The version; `None` for the one that serves.
        start: The first day of the predictions; `None` for that of the first one.
        end: The last day; `None` for that of the last one.
        progress: Called with what is waited for.

    Returns:
        What `usecase.skew.compare` returns, with the `version`.

    Raises:
        OpsError: When there is no such version, none of its predictions is kept, or the job fails.
    """
    version = models.find(number) if number else models.serving()
    if version is None:
        raise OpsError("no version serves; name one: `uv run ops skew VERSION`")
    schema = models.trained_on(version)
    if schema is None:
        raise OpsError(f"version {version.number} is older than this command; train a new one")
    first, last = (f"{day:{DAY_FOLDER}}" if day else "" for day in (start, end))
    kept = [
        key
        for key in aws.keys(keys.PREDICTIONS, first)
        if not last or key.removeprefix(keys.PREDICTIONS)[: len(last)] <= last
    ]
    if not kept:
        raise OpsError("there are no predictions of these days; captures are kept by the monitors")
    settings = models.settings_of(version)
    name = settings.names.of(f"skew-{uuid.uuid4().hex[:10]}")
    folder = settings.uri(f"{keys.COMPARISONS}{name}")
    manifest = f"{keys.COMPARISONS}{name}/files.manifest"
    content = json.dumps([{"prefix": settings.uri("")}, *kept])
    aws.s3().put_object(Bucket=settings.bucket, Key=manifest, Body=content.encode())
    progress(f"job {name}")
    body = jobs.skew(settings, settings.uri(manifest), schema.tables, version.number, folder)
    models.run_job(name, body, f"version {version.number} cannot be compared")
    report: Mapping[str, Any] = aws.read_json(f"{folder}/skew.json")
    return report


def summary(features: Mapping[str, Mapping[str, Any]]) -> Table:
    """A table of the features that differ."""
    table = Table("feature", "differs", "on average", "at most", "missing", "example")
    for name, found in features.items():
        example = found["example"]
        table.add_row(
            name,
            f"{found['differ']} ({found['fraction']:.1%})",
            *(
                f"{found[key]:+.4g}" if key in found else ""
                for key in ("mean_difference", "largest_difference")
            ),
            f"{found['missing_when_asked']} asked, {found['missing_in_mart']} in the mart",
            f"{example['id']}: {example['asked']}, not {example['mart']}",
        )
    return table
