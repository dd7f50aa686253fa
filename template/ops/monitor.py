"""Run the monitors now, and show what they find and have found."""

import uuid
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ops import OpsError, aws, monitor_history, monitor_page, workflow
from ops.times import End, Start
from usecase.monitors import results
from workflows import keys, names

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


@dataclass(frozen=True)
class Result:
    """What a monitor has found of the predictions of one version.

    Attributes:
        monitor: Its name.
        version: The version.
        violations: What broke a constraint; `None` where there was nothing to look at.
        problems: What kept the monitor from judging well, in sentences.
    """

    monitor: str
    version: int
    violations: list[Violation] | None
    problems: list[str]


def run(
    start: Start = None,
    end: End = None,
    last: Annotated[
        bool, typer.Option("--last", help="Run nothing, show the last windows.")
    ] = False,
    open_: Annotated[
        bool, typer.Option("--open", help="Write the report of the newest run and open it.")
    ] = False,
    execution: Annotated[
        str | None, typer.Option(help="With --last: the run to report, as its mail names it.")
    ] = None,
) -> None:
    """Run all monitors on the predictions of a window, version by version."""
    if last and (start or end):
        raise OpsError("--start and --end are of a run, --last runs nothing; leave one of them out")
    if execution and not last:
        raise OpsError("--execution is of a run that is over; add --last")
    if not last:
        with console.status("Monitoring …") as status:
            found = run_monitors(start, end, lambda text: status.update(f"Monitoring: {text}"))
        if found:
            console.print(summary(found))
        else:
            console.print("Nothing to look at: no version serves, and none has predictions.")
    rows = monitor_history.read()
    if rows.is_empty():
        console.print("No window is in the table monitor_results yet.")
    else:
        console.print(monitor_history.table(rows))
    if open_ or execution:
        path = monitor_page.write(rows, execution)
        console.print(f"The report is in {path}.", soft_wrap=True)
        if open_:
            webbrowser.open(path.resolve().as_uri())


def run_monitors(
    start: datetime | None, end: datetime | None, progress: Callable[[str], None] = lambda _: None
) -> list[Result]:
    """Run the monitoring workflow for each version and read the reports.

    Args:
        start: Begin of the window, UTC; `None` for that of usecase.toml.
        end: End of the window, UTC; `None` for now where a begin is given, else that of
            usecase.toml.
        progress: Called with the version and the step that runs.

    Returns:
        What each monitor has found of each version that predicted within the window, and of the
        one that serves.

    Raises:
        OpsError: When the workflow failed for a version.
    """
    window = {"start": start, "end": end}
    request = {name: f"{time:%Y-%m-%dT%H:%M:%SZ}" for name, time in window.items() if time}
    request |= {"trigger": "manual", "time": aws.utc_now().isoformat()}
    request |= {"idempotency_key": str(uuid.uuid4())}
    started: dict[str, str] = aws.invoke(names.current().of("monitoring-start"), request)["started"]
    found: list[Result] = []
    for version, arn in started.items():

        def show(state: workflow.Execution, version: str = version) -> None:
            progress(f"version {version}: {', '.join(state.running) or 'starting'}")

        execution = workflow.wait(arn, show)
        found += [result(monitor, int(version), execution.id) for monitor in names.MONITORS]
    return sorted(found, key=lambda one: names.MONITORS.index(one.monitor))


def result(monitor: str, version: int, execution_id: str) -> Result:
    """Read what a monitor has reported in an execution.

    Where there was nothing to look at, the reason is with its newest result.
    """
    folder = f"s3://{aws.bucket()}/{keys.MONITORING}{monitor}/{execution_id}"
    report = aws.find_json(f"{folder}/constraint_violations.json")
    if report is None:
        latest = f"s3://{aws.bucket()}/{keys.LATEST}{monitor}/version={version}.json"
        newest = aws.find_json(latest) or {}
        # One with a report is of another execution.
        return Result(
            monitor, version, None, [] if newest.get("report") else newest.get("problems", [])
        )
    coverage = aws.find_json(f"{folder}/coverage.json") or {}
    violations = [
        Violation(
            feature=results.name_of(entry),
            check=entry["constraint_check_type"],
            description=entry["description"],
        )
        for entry in report["violations"]
    ]
    return Result(monitor, version, violations, coverage.get("problems", []))


def summary(found: list[Result]) -> Table:
    """A table of all violations and problems."""
    table = Table("monitor", "version", "feature or metric", "check", "description")
    for one in found:
        row = one.monitor, str(one.version)
        if one.violations is None:
            table.add_row(*row, "-", "-", "nothing to look at in this window")
        elif not one.violations:
            table.add_row(*row, "-", "-", "no violations")
        for entry in one.violations or []:
            table.add_row(*row, entry.feature, entry.check, entry.description)
        for problem in one.problems:
            table.add_row(*row, "-", "problem", problem)
    return table
