"""Run the monitors now and show what they find."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.table import Table

from ops import aws, workflow
from ops.times import End, Start
from workflows import names

console = Console()


@dataclass(frozen=True)
class Violation:
    """A line of constraint_violations.json.

    Attributes:
        feature: The feature, or the metric, that breaks its constraint.
        check: Model Monitor's name of the check.
        description: What was found, in words.
    """

    feature: str
    check: str
    description: str


def run(start: Start = None, end: End = None) -> None:
    """Run all monitors on the predictions of a window and show the violations."""
    with console.status("Monitoring …") as status:
        found = run_monitors(start, end, lambda text: status.update(f"Monitoring: {text}"))
    console.print(summary(found))


def run_monitors(
    start: datetime | None, end: datetime | None, progress: Callable[[str], None] = lambda _: None
) -> dict[str, list[Violation] | None]:
    """Run the monitoring workflow and read its reports.

    Args:
        start: Begin of the window, UTC; `None` for that of usecase.toml.
        end: End of the window, UTC; `None` for now.
        progress: Called with the step that runs.

    Returns:
        The violations of each monitor; `None` for one that had nothing to look at.

    Raises:
        OpsError: When the workflow failed.
    """
    window = {"WindowStart": start, "WindowEnd": end}
    parameters = {k: f"{v:%Y-%m-%dT%H:%M:%SZ}" for k, v in window.items() if v}
    execution = workflow.wait(
        workflow.start(names.MONITORING, parameters),
        lambda state: progress(", ".join(state.running) or "starting"),
    )
    return {name: violations(name, execution.id) for name in names.MONITORS}


def violations(monitor: str, execution_id: str) -> list[Violation] | None:
    """Read the violations that a monitor reported in an execution, `None` if it did not run."""
    uri = f"s3://{aws.bucket()}/monitoring/{monitor}/{execution_id}/constraint_violations.json"
    report = aws.find_json(uri)
    if report is None:
        return None
    return [
        Violation(
            feature=entry.get("feature_name") or entry["metric_name"],
            check=entry["constraint_check_type"],
            description=entry["description"],
        )
        for entry in report["violations"]
    ]


def summary(found: dict[str, list[Violation] | None]) -> Table:
    """A table of all violations."""
    table = Table("monitor", "feature or metric", "check", "description")
    for name, entries in found.items():
        if entries is None:
            table.add_row(name, "-", "-", "nothing to look at in this window")
        elif not entries:
            table.add_row(name, "-", "-", "no violations")
        for entry in entries or []:
            table.add_row(name, entry.feature, entry.check, entry.description)
    return table
